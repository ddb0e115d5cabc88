"""How `volumehealth check` prints what it found."""

import io
import json
import math
from datetime import timedelta
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from volumehealth.judge.explain import StatementTrace
from volumehealth.model.clock import rfc3339
from volumehealth.model.health import Answer, Outcome
from volumehealth.model.ids import ClaimRef
from volumehealth.oneshot.check import OneCheck
from volumehealth.policy.durations import format_duration

_MOST_ROWS = 50
_NO_CALL = {"Unsupported": "no health call"}


def show(found: OneCheck, form: str) -> str:
    """Return what to print.

    Args:
        found: what was found.
        form: `table`, `json` or `yaml`.
    """
    if form == "table":
        return _explained(found) if found.explained else _overview(found)
    data = _data(found)
    if form == "json":
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _data(found: OneCheck) -> dict[str, Any]:
    data: dict[str, Any] = {
        "status": dict(found.status),
        "drivers": _drivers(found),
        "unhealthy": [_row(*one) for one in _findings(found)],
    }
    if found.explained:
        claim, statements = found.explained
        data["explained"] = {
            "claim": str(claim.ref),
            "driver": claim.driver,
            "volumeHandle": claim.handle,
            "statements": [
                {**_answer(one.answer), "conditions": [_heard(heard) for heard in one.heard]}
                for one in statements
            ],
        }
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


def _row(ref: ClaimRef, finding: Any) -> dict[str, str]:
    return {
        "namespace": ref.namespace,
        "name": ref.name,
        "status": finding.status,
        "reason": finding.reason,
        "source": str(finding.source),
        "message": finding.message,
    }


def _answer(answer: Answer) -> dict[str, str]:
    told = {"source": str(answer.source), "node": answer.node, "says": str(answer.outcome)}
    if answer.outcome is Outcome.SILENT:
        told |= {"reason": str(answer.reason), "message": answer.message}
    return {key: value for key, value in told.items() if value}


def _heard(heard: StatementTrace) -> dict[str, str]:
    """Tell a statement, the rule that matched it, and when it is confirmed."""
    if heard.ruled.ignored:
        belief = "ignored: never confirmed"
    elif heard.confirmed is not None:
        belief = f"confirmed since {rfc3339(heard.confirmed)}"
    elif heard.left is not None:
        left = timedelta(seconds=math.ceil(heard.left.total_seconds()))
        belief = f"confirmed if it is still said in {format_duration(left)}"
    else:
        belief = "not taken up beside too many others"
    condition = heard.ruled.condition
    return {
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "rule": heard.ruled.rule or "none",
        "belief": belief,
    }


def _overview(found: OneCheck) -> str:
    out = Console(file=io.StringIO(), width=160, highlight=False)
    rows = [_row(*one) for one in _findings(found)]
    if rows:
        table = Table(box=None, pad_edge=False, header_style="")
        for name in rows[0]:
            table.add_column(name.upper(), overflow="fold" if name == "message" else "ellipsis")
        for row in rows[:_MOST_ROWS]:
            table.add_row(*row.values())
        out.print(table)
        if len(rows) > _MOST_ROWS:
            out.print(f"... and {len(rows) - _MOST_ROWS} more (-o json shows all)")
        out.print()
    for driver in _drivers(found):
        tail = "".join(f"; {part}" for part in (driver["message"], driver["hint"]) if part)
        methods = ", ".join(driver["methods"]) or _NO_CALL.get(driver["state"], "no call made")
        out.print(
            f"driver {driver['name']}: {driver['claims']} claims, {driver['state']}, {methods}{tail}",
            soft_wrap=True,
            markup=False,
        )
    for line in found.status.get("summary", ()):
        if "kubectl get v" not in line:  # no records are written by this command
            out.print(line, soft_wrap=True, markup=False)
    return _text(out)


def _explained(found: OneCheck) -> str:
    assert found.explained is not None  # noqa: S101 - the caller looked
    claim, statements = found.explained
    out = Console(file=io.StringIO(), width=160, highlight=False)
    out.print(
        f"{claim.ref}: {claim.phase}, volume {claim.volume or 'none'}, {claim.driver or claim.unsupported}",
        markup=False,
    )
    if not statements:
        out.print(
            "No source can say anything about it: the policy does not select it, or its volume is not CSI."
        )
    for statement in statements:
        answer = _answer(statement.answer)
        head = f"{answer['source']} says {answer['says']}"
        tail = ": ".join(answer[key] for key in ("reason", "message") if key in answer)
        out.print(f"{head} {tail}".rstrip(), markup=False, soft_wrap=True)
        for heard in statement.heard:
            told = _heard(heard)
            out.print(f"  {told['status']}/{told['reason']}: {told['message']}", markup=False, soft_wrap=True)
            out.print(f"    rule: {told['rule']}; {told['belief']}", markup=False, soft_wrap=True)
    return _text(out)


def _text(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)  # noqa: S101 - made above
    return out.file.getvalue()
