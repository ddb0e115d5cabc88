"""A hook of the site: it takes in pages and pictures, and names files that the site does not hold instead of linking them.

Pages are those of the repository, pictures those that `pictures.py` made.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_TAKE_IN = re.compile(r'^--8<-- "([\w.]+)"$', re.MULTILINE)
_PAGE = re.compile(r"\]\(docs/([\w-]+\.md)((?:#[\w-]+)?)\)")
_FILE = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)*((?:charts|deploy|examples|operator|tests|crds|benchmarks|protos|Dockerfile)\b[^)\s]*)\)"
)


_PICTURE = re.compile(r"^<!-- picture: ([\w-]+): (.+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Rewrite one page before it is rendered."""
    whole = _TAKE_IN.sub(lambda name: (ROOT / name[1]).read_text(), markdown)
    whole = whole.replace("](../CONTRIBUTING.md", "](contributing.md").replace(
        "](../CHANGELOG.md", "](changelog.md"
    )
    whole = whole.replace("](CONTRIBUTING.md", "](contributing.md").replace("](../README.md", "](index.md")
    return _PICTURE.sub(_shown, _FILE.sub(_named, _PAGE.sub(r"](\1\2)", whole)))


def _shown(picture: re.Match[str]) -> str:
    name, words = picture[1], picture[2]
    made = (ROOT / "docs" / "pictures" / f"{name}.png").exists()
    return f"![{words}](pictures/{name}.png)" if made else ""


def _named(link: re.Match[str]) -> str:
    text, path = link[1], link[2]
    return text if path in text else f"{text} (`{path}`)"
