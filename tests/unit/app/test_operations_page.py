"""docs/operations.md quotes log lines and exit statuses that the code has."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def test_every_log_line_of_the_page_is_in_the_code() -> None:
    table = PAGE.partition("| message | means |")[2].partition("\n\n")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    code = "\n".join(file.read_text() for file in (ROOT / "operator").rglob("*.py"))
    assert len(messages) > 10
    assert [message for message in messages if f'"{message}"' not in code] == []
