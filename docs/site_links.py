"""A hook of the site: it takes in pages of the repository, and names files that the site does not hold instead of linking them."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_TAKE_IN = re.compile(r'^--8<-- "([\w.]+)"$', re.MULTILINE)
_PAGE = re.compile(r"\]\(docs/([\w-]+\.md)((?:#[\w-]+)?)\)")
_FILE = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)*((?:charts|deploy|examples|operator|tests|crds|benchmarks|protos|Dockerfile)\b[^)\s]*)\)"
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Rewrite one page before it is rendered."""
    whole = _TAKE_IN.sub(lambda name: (ROOT / name[1]).read_text(), markdown)
    whole = whole.replace("](../CONTRIBUTING.md", "](contributing.md").replace(
        "](../CHANGELOG.md", "](changelog.md"
    )
    whole = whole.replace("](CONTRIBUTING.md", "](contributing.md").replace("](../README.md", "](index.md")
    return _FILE.sub(_named, _PAGE.sub(r"](\1\2)", whole))


def _named(link: re.Match[str]) -> str:
    text, path = link[1], link[2]
    return text if path in text else f"{text} (`{path}`)"
