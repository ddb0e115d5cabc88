"""Writes the runbooks of reasons that `volumehealth report` shows, from docs/runbooks.md, so that there is one text of each.

Run it after a change of the page: `.venv/bin/python docs/runbooks.py`. A test fails while the file is old.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "runbooks.md"
FILE = ROOT / "operator" / "volumehealth" / "cli" / "runbooks.json"


def render() -> str:
    """Return the file: by reason, what it means and each part by its name."""
    reasons = PAGE.read_text().split("## Reasons")[1]
    sections = re.findall(r"^### (\w+)\n\n(.*?)\n\n(.*?)(?=\n^##|\Z)", reasons, re.MULTILINE | re.DOTALL)
    books = {
        name: {"Meaning": meaning} | dict(re.findall(r"^- ([^:]+): (.*)$", parts, re.MULTILINE))
        for name, meaning, parts in sections
    }
    return json.dumps(books, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(render())
