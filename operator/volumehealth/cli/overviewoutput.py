"""How `volumehealth status`, `drivers` and `history` print what they read."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from volumehealth.cli.reading import data_text
from volumehealth.cli.reportfacts import find_problems
from volumehealth.cli.runbooks import first_step
from volumehealth.model.clock import moment_of, parse_rfc3339
from volumehealth.model.runbooks import page_of
from volumehealth.model.text import visible
from volumehealth.oneshot.overview import Overview

_LEAST_WIDTH = 80
_NARROW = 24
_ROWS = 20
"""Claims that `status` lists; `-o wide` lists all."""
_STEPS = 3


def show_status(result: Overview, form: str, *, now: datetime, width: int, color: bool) -> str:
    """Return what `volumehealth status` prints.

    Args:
        result: what was read.
        form: `table`, `wide`, `json` or `yaml`.
        now: the moment, for ages.
        width: columns of the terminal; 80 at least are used.
        color: whether it is a terminal that shows colours.
    """
    if form in ("json", "yaml"):
        return data_text({"notWatched": list(result.loud), "records": list(result.records)}, form)
    out = _console(width, color)
    _print_loud(out, result.loud)
    for policy in () if result.namespace else result.policies or ():  # a summary is about all namespaces
        for line in (policy.get("status") or {}).get("summary") or ():
            if not line.startswith("All: "):
                out.print(f"{policy['metadata']['name']}: {line}", soft_wrap=True)
    _print_first_steps(out, result)
    shown = result.unhealthy if form == "wide" else result.unhealthy[:_ROWS]
    rows = [_row(record, now, wide=form == "wide") for record in shown]
    if rows:
        out.print()
        out.print(_table(rows))
        if len(shown) < len(result.unhealthy):
            out.print(f"and {len(result.unhealthy) - len(shown)} more: kubectl get vh -A")
        namespace, name = _first_to_look_at(result)
        out.print()
        out.print(f"Next: kubectl describe vh {name} -n {namespace}")
        page = page_of((result.unhealthy[0].get("status") or {}).get("runbook"))
        out.print(f"What to do about each reason: {page}", soft_wrap=True)
    elif not result.more_unhealthy and (result.namespace or not result.loud):
        place = f" of namespace {result.namespace}" if result.namespace else ""
        known = " known to be" if result.loud else ""
        out.print(f"No claim{place} is{known} unhealthy.")
    return _text(out)


def _first_to_look_at(result: Overview) -> tuple[str, str]:
    """Return namespace and name of an example of the worst problem; without problems, of the worst record."""
    for problem in find_problems(result)[:1]:
        namespace, slash, name = problem.example.partition("/")
        if slash:
            return namespace, name
    worst = result.unhealthy[0]["metadata"]
    return str(worst["namespace"]), str(worst["name"])


def _print_loud(out: Console, lines: Sequence[str]) -> None:
    for line in lines:
        out.print(line, style="bold yellow", soft_wrap=True)


def _print_first_steps(out: Console, result: Overview) -> None:
    """Print what to do first about the worst problems."""
    problems = find_problems(result)[:_STEPS]
    if problems:
        out.print()
        out.print("What to do first:", style="bold")
    for number, problem in enumerate(problems, start=1):
        step = first_step(problem.reason, wide=problem.wide)
        place = problem.driver or problem.nodes
        out.print(f"{number}. {problem.reason}, {place}: {step}", soft_wrap=True)


def show_drivers(
    drivers: Sequence[Mapping[str, Any]], form: str, *, rest: Sequence[str] = (), width: int, color: bool
) -> str:
    """Return what `volumehealth drivers` prints: what can be heard of each driver, and what to do.

    Args:
        drivers: VolumeHealthDrivers.
        form: `table`, `wide`, `json` or `yaml`.
        rest: which policies make no checks.
        width: columns of the terminal; 80 at least are used.
        color: whether it is a terminal that shows colours.
    """
    if form in ("json", "yaml"):
        return data_text({"drivers": list(drivers)}, form)
    out = _console(width, color)
    _print_loud(out, rest)
    if not drivers:
        out.print("No VolumeHealthDriver exists: no claim uses a CSI driver, or no operator runs.")
        return _text(out)
    rows = []
    for driver in drivers:
        status = driver.get("status") or {}
        methods = ", ".join(map(str, status.get("methods") or ()))
        rows.append(
            {
                "driver": str(driver["metadata"]["name"]),
                "state": str(status.get("state", "")),
                "health-api": str(status.get("healthAPI", "")),
                "claims": str((status.get("claims") or {}).get("selected", 0)),
                "basis": str(status.get("basis", "")),
                "nodes": str((status.get("plugins") or {}).get("nodes", "")),
            }
            | ({"since": str(status.get("since", "")), "methods": methods} if form == "wide" else {})
        )
    out.print(_table(rows))
    for driver in drivers:
        status = driver.get("status") or {}
        for what in ("message", "hint"):
            if status.get(what):
                out.print(f"{driver['metadata']['name']}: {status[what]}", soft_wrap=True)
    return _text(out)


def show_history(
    record: Mapping[str, Any] | None,
    ref: str,
    form: str,
    *,
    rest: Sequence[str] = (),
    width: int,
    color: bool,
) -> str:
    """Return what `volumehealth history` prints: a claim's record as a timeline, newest last.

    Args:
        record: of the claim; None if there is none.
        ref: the claim, as it was asked for.
        form: `table`, `json` or `yaml`.
        rest: that its policy makes no checks.
        width: columns of the terminal; 80 at least are used.
        color: whether it is a terminal that shows colours.
    """
    if form in ("json", "yaml"):
        return data_text(dict(record or {}), form)
    out = _console(width, color)
    if record is None:
        out.print(f"{ref} has no record: it is healthy, not monitored, or not selected by a policy.")
        return _text(out)
    _print_loud(out, rest)
    status = record.get("status") or {}
    driver, volume = status.get("driver", ""), status.get("volumeHandle", "")
    out.print(f"{ref}: {status.get('health', '')}, {driver}, volume {volume}", soft_wrap=True)
    for finding in status.get("findings") or ():
        where = f" on {finding['node']}" if finding.get("node") else ""
        stale = ", stale" if finding.get("stale") else ""
        out.print(
            f"  now: {finding.get('status', '')}/{finding.get('reason', '')} ({finding.get('source', '')}{where}{stale}) "
            f"since {finding.get('since', '')}: {finding.get('message', '')}",
            soft_wrap=True,
        )
    for change in status.get("history") or ():
        out.print(f"  {change.get('time', '')}  {change.get('what', '')}", soft_wrap=True)
    return _text(out)


def _row(record: Mapping[str, Any], now: datetime, *, wide: bool) -> dict[str, str]:
    status, metadata = record.get("status") or {}, record["metadata"]
    worst: Mapping[str, Any] = next(iter(status.get("findings") or ()), {})
    row = {
        "namespace": str(metadata["namespace"]),
        "claim": str(metadata["name"]),
        "health": " ".join([str(status.get("health", "")), *_beside(status, worst, now)]),
        "status/reason": f"{worst.get('status', '')}/{worst.get('reason', '')}",
        "node": str(worst.get("node", "")),
        "age": age(str(status.get("since", "")), now),
    }
    if wide:
        row |= {
            "driver": str(status.get("driver", "")),
            "pods": ", ".join(status.get("pods") or ()),
            "message": str(worst.get("message", "")),
        }
    return row


def _beside(status: Mapping[str, Any], worst: Mapping[str, Any], now: datetime) -> list[str]:
    """Say whether a claim's source is silent, and whether people are not told of the claim."""
    until = moment_of((status.get("silenced") or {}).get("until"))
    stale, silenced = worst.get("stale"), until is not None and until > now
    return [word for word, holds in (("(stale)", stale), ("(silenced)", silenced)) if holds]


def age(since: str, now: datetime) -> str:
    """Write how long ago a moment was as kubectl does: `45s`, `5m`, `3h`, `12d`; empty if it is not a moment."""
    try:
        length = max(timedelta(), now - parse_rfc3339(since))
    except ValueError:
        return ""
    seconds = int(length.total_seconds())
    for size, unit, from_ in ((86400, "d", 2 * 86400), (3600, "h", 3 * 3600), (60, "m", 2 * 60)):
        if seconds >= from_:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _table(rows: Sequence[Mapping[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for name in rows[0]:
        table.add_column(name.upper(), overflow="fold", max_width=None if name == "message" else 2 * _NARROW)
    for row in rows:
        table.add_row(*map(visible, row.values()))
    return table


class _Screen(Console):
    """Prints texts of others as they are, and lets none of them steer the terminal."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print texts and tables."""
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **how)


def _console(width: int, color: bool) -> Console:
    """Return where to print; what others wrote is no markup and no emoji."""
    return _Screen(
        file=io.StringIO(),
        width=max(width, _LEAST_WIDTH),
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=color,
        no_color=not color,
    )


def _text(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)  # noqa: S101 - made above
    return "\n".join(line.rstrip() for line in out.file.getvalue().splitlines()) + "\n"
