"""Writes the tables of docs/api.md from the schemas in crds/, so that there is one text about each field.

Run it after a change of a schema: `.venv/bin/python docs/reference.py`. A test fails while the tables are old.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
SECTIONS = {
    "spec": ("volumehealthpolicies", "spec", ("Field", "Type", "Default", "Allowed", "Meaning")),
    "policy-status": ("volumehealthpolicies", "status", ("Field", "Type", "Meaning")),
    "driver-status": ("volumehealthdrivers", "status", ("Field", "Type", "Meaning")),
    "record-status": ("volumehealths", "status", ("Field", "Type", "Meaning")),
}
_DEFAULT = re.compile(r"\s*Default: (.*)\.$", re.DOTALL)
_RANGE = re.compile(r"\s*From (\S+) to (\S+)\.")

Schema = dict[str, Any]


def render(page: str) -> str:
    """Return the page with every table written anew."""
    for name, (plural, root, columns) in SECTIONS.items():
        begin, end = f"<!-- fields of {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{_table(plural, root, columns)}{end}{after}"
    return page


def _table(plural: str, root: str, columns: tuple[str, ...]) -> str:
    crd = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][root]
    lines = [_row(columns), _row(tuple("---" for _ in columns))]
    for path, field in fields(schema, root):
        cells = {"Field": f"`{path}`", "Type": _type(field)} | _words(field["description"], field)
        lines.append(_row(tuple(cells[column] for column in columns)))
    return "".join(f"{line}\n" for line in lines)


def fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield every field below a schema with its path; lists are written `rules[]`."""
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        yield below, field | {"needed": name in schema.get("required", ())}
        yield from fields(field, below)
        yield from fields(field.get("items", {}), f"{below}[]")


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _type(field: Schema) -> str:
    match field["type"]:
        case "array":
            return f"list of {_type(field['items'])}s"
        case "object" if "additionalProperties" in field:
            return "map of strings"
        case "string" if field.get("format") == "date-time":
            return "time"
        case "string" if any(
            "duration(self)" in rule["rule"] for rule in field.get("x-kubernetes-validations", ())
        ):
            return "duration"
        case kind:
            return str(kind)


def _words(description: str, field: Schema) -> dict[str, str]:
    """Take a description apart into its meaning, the default and what is allowed."""
    default, limits = _DEFAULT.search(description), _RANGE.search(description)
    allowed = [f"{limits[1]} to {limits[2]}"] if limits else []
    allowed += [" / ".join(field["enum"])] if "enum" in field else []
    allowed += [f"{field['minimum']} to {field['maximum']}"] if "minimum" in field and not limits else []
    allowed += [f"{field['maxItems']} items at most"] if "maxItems" in field else []
    allowed += [f"{field['maxProperties']} entries at most"] if "maxProperties" in field else []
    if "maxLength" in field and not limits:
        allowed.append(f"{field['maxLength']} characters at most")
    meaning = _RANGE.sub("", _DEFAULT.sub("", description)).strip()
    return {
        "Meaning": meaning.replace("|", r"\|"),
        "Default": default[1] if default else "required" if field["needed"] else "",
        "Allowed": ", ".join(allowed),
    }


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
