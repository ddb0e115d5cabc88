"""What people read is plain English in the field's terms: words that were dropped do not come back.

In: pages, descriptions in the CRDs, help texts and messages (string constants of the product, docstrings apart).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DROPPED = re.compile(
    r"\b(NotHeard|NotAble|toldAt|nobody|whoever|of ours|nothing of ours|tells of|vouch\w*|acquit\w*|accus\w*|takeback|"
    r"mischief|courtroom|patience|believed|frozen|freezes?)\b|(?<!there )\bis no [a-z]",
    re.IGNORECASE,
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CRDS = sorted((ROOT / "crds").glob("volume*.yaml"))
MODULES = [path for path in sorted((ROOT / "operator/volumehealth").rglob("*.py")) if "/pb/" not in str(path)]


def found_in(text: str) -> list[str]:
    return [
        text[max(0, hit.start() - 40) : hit.end() + 20].replace("\n", " ") for hit in DROPPED.finditer(text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_no_dropped_word(page: Path) -> None:
    assert found_in(page.read_text()) == []


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd.name)
def test_kubectl_explain_uses_no_dropped_word(crd: Path) -> None:
    assert found_in(yaml.safe_dump(yaml.safe_load(crd.read_text()))) == []


def messages(module: Path) -> Iterator[str]:
    """Yield the string constants of a module that are sentences, docstrings apart."""
    tree = ast.parse(module.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and " " in node.value
        ):
            yield node.value


def test_messages_and_help_use_no_dropped_word() -> None:
    assert {
        str(path): bad
        for path in MODULES
        if (bad := [hit for one in messages(path) for hit in found_in(one)])
    } == {}


def test_the_glossary_has_25_terms_at_most() -> None:
    terms = re.findall(r"^\| ([a-zA-Z -]+) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert 10 < len(terms) - 1 <= 25
