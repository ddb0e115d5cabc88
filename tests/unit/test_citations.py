"""What the code cites can be read in the repository: every `facts D6` has its entry in docs/driver-facts.md."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "driver-facts.md").read_text()
ENTRIES = set(re.findall(r"^(?:### |\| )([CD]\d+)\b", PAGE, re.MULTILINE))
CITATION = re.compile(r"\bfacts,? ([CD]\d+(?:(?:, | and )[CD]\d+)*)")
PLACES = ("operator", "tests", "benchmarks", "crds", "protos", "docs")


def citations() -> Iterator[tuple[str, str]]:
    """Yield file and entry of each citation."""
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix in (".py", ".yaml", ".proto", ".md"):
                for found in CITATION.finditer(path.read_text()):
                    for entry in re.findall(r"[CD]\d+", found[1]):
                        yield str(path.relative_to(ROOT)), entry


def test_every_cited_fact_has_an_entry() -> None:
    found = list(citations())
    assert len(found) > 40
    assert [(path, entry) for path, entry in found if entry not in ENTRIES] == []


def test_the_pitfalls_are_all_there() -> None:
    assert {f"D{number}" for number in range(1, 24)} <= ENTRIES
