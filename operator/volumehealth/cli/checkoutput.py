"""How `volumehealth check` prints what it found."""

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from volumehealth.cli.explainoutput import show_explanation
from volumehealth.cli.reading import camel_case, data_text
from volumehealth.model.ids import ClaimRef
from volumehealth.model.text import count
from volumehealth.oneshot.check import OneCheck
from volumehealth.report.text import span

_MOST_ROWS = 50
_NO_CALL = {"Unsupported": "no health call"}


def show(found: OneCheck, form: str, *, width: int = 80) -> str:
    """Return what to print.

    Args:
        found: what was found.
        form: `table`, `json` or `yaml`.
        width: columns of the terminal.
    """
    if form == "table":
        return show_explanation(found.explained, width=width) if found.explained else _overview(found)
    return data_text(_data(found), form)


def _data(found: OneCheck) -> dict[str, Any]:
    data: dict[str, Any] = {
        "status": dict(found.status),
        "drivers": _drivers(found),
        "unhealthy": [_row(*one) for one in _findings(found)],
        "waiting": [
            {**_row(ref, one), "confirmedAfterSeconds": one.after.total_seconds()}
            for ref, one in _waiting(found)
        ],
        "notRead": list(found.not_read),
    }
    if found.explained:
        data["explained"] = camel_case(found.explained)
    return data


def _drivers(found: OneCheck) -> list[dict[str, Any]]:
    """Return what is known of each driver of selected claims, by name."""
    counts = found.result.driver_counts
    return [
        {
            "name": name,
            "state": str(driver.state),
            "claims": counts[name].claims if name in counts else 0,
            "healthAPI": str(driver.health_api),
            "methods": list(driver.methods),
            "message": driver.message,
            "hint": driver.hint,
        }
        for name, driver in sorted(found.result.drivers.items())
    ]


def _findings(found: OneCheck) -> list[tuple[ClaimRef, Any]]:
    healths = found.result.healths
    return [(ref, finding) for ref in sorted(healths) for finding in healths[ref].findings]


def _waiting(found: OneCheck) -> list[tuple[ClaimRef, Any]]:
    """Return what is said now and is no finding yet: a rule has a delay of its own for it."""
    healths = found.result.healths
    return [(ref, one) for ref in sorted(healths) for one in healths[ref].pending]


def _row(ref: ClaimRef, finding: Any) -> dict[str, str]:
    return {
        "namespace": ref.namespace,
        "name": ref.name,
        "status": finding.status,
        "reason": finding.reason,
        "source": str(finding.source),
        "message": finding.message,
    }


def _overview(found: OneCheck) -> str:
    # What others wrote is no markup and no emoji.
    out = Console(file=io.StringIO(), width=160, highlight=False, markup=False, emoji=False)
    rows = [_row(*one) for one in _findings(found)]
    if rows:
        table = Table(box=None, pad_edge=False, header_style="")
        for name in rows[0]:
            table.add_column(name.upper(), overflow="fold")
        for row in rows[:_MOST_ROWS]:
            table.add_row(*row.values())
        out.print(table)
        if len(rows) > _MOST_ROWS:
            out.print(f"... and {len(rows) - _MOST_ROWS} more (-o json shows all)")
        out.print()
    waiting = _waiting(found)
    for ref, one in waiting[:_MOST_ROWS]:
        said = f"{one.status}/{one.reason} ({one.source}): {one.message}"
        out.print(f"{ref}: {said}; a rule waits {span(one.after)} before it is confirmed", soft_wrap=True)
    if len(waiting) > _MOST_ROWS:
        out.print(f"... and {len(waiting) - _MOST_ROWS} more that wait (-o json shows all)")
    for driver in _drivers(found):
        tail = "".join(f"; {part}" for part in (driver["message"], driver["hint"]) if part)
        methods = ", ".join(driver["methods"]) or _NO_CALL.get(driver["state"], "no call made")
        out.print(
            f"driver {driver['name']}: {count(driver['claims'], 'claim')}, {driver['state']}, {methods}{tail}",
            soft_wrap=True,
        )
    for endpoint in found.result.unresolved:
        out.print(f"endpoint {endpoint}: no answer, so nothing is known of its driver", soft_wrap=True)
    for line in found.status.get("summary", ()):
        if "kubectl get v" not in line:  # no records are written by this command
            out.print(line, soft_wrap=True)
    if found.not_read:
        names = ", ".join(found.not_read)
        out.print(
            f"NOT READ  your rights do not show {names}: what these say of claims is not in here",
            soft_wrap=True,
        )
    return _text(out)


def _text(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)  # noqa: S101 - made above
    return out.file.getvalue()
