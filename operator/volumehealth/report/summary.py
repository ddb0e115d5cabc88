"""`status.summary`: what a person needs at 3 a.m., in twelve lines at most, each about 140 characters at most.

Times are absolute (UTC), so that a line changes only when what it tells has changed.
"""

from collections.abc import Sequence

from volumehealth.judge.groups import UnknownGroup
from volumehealth.judge.policy import PolicyJudgement
from volumehealth.judge.problem import Problem
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import date_and_time
from volumehealth.model.text import count
from volumehealth.report.conditions import nothing_selected
from volumehealth.report.phrases import headline, monitored, unmonitored, why_unmonitored
from volumehealth.report.text import clean, fit

WIDTH = 140
_WIDE_WIDTH = 150
"""The line of a driver-wide problem stands alone; it may be longer."""
LINES = 12
INVALID, STALE = "INVALID SPEC", "STALE VIEW"
"""How lines begin that say what is in the way of checks."""
_UNKNOWN_GROUPS = 3


def summarize(result: CheckResult, problems: Sequence[Problem], *, limit: int = LINES) -> list[str]:
    """Write the summary of a check.

    Args:
        result: of a check, with a judgement.
        problems: worst first.
        limit: lines at most; five at least.
    """
    judgement = result.judgement
    if judgement is None:
        return [*banners(result), "NOT YET CHECKED"]
    if not judgement.counts.selected:
        return [*banners(result), _line("NOTHING SELECTED", nothing_selected(result)), *_beside(judgement)]
    above, unknown = banners(result), _unknown(judgement)
    beside = [*_silenced(result), *_beside(judgement)]
    head = _head(result, problems)
    where = _where([problem for problem in problems if not problem.storage])  # storage has no records
    alone = len(problems) == 1 and problems[0].wide_of > 0
    if unknown and not problems:
        return [*above, *unknown, *head, *beside][:limit]
    taken = sum(map(len, (above, head, unknown, beside, where)))
    rows = [] if alone else _rows(result, problems, max(2, limit - taken))
    return [*above, *head, *rows, *unknown, *beside, *where][:limit]


def _line(word: str, text: str) -> str:
    return fit(f"{word:<9} {clean(text)}", WIDTH)


def banners(result: CheckResult) -> list[str]:
    """Say what is in the way of checks."""
    lines = []
    if result.invalid:
        more = f" (and {len(result.invalid) - 1} more)" if len(result.invalid) > 1 else ""
        lines.append(_line(INVALID, f"{fit(str(result.invalid[0]), 90)}{more}"))
    if result.view.stale:
        lines.append(_line(STALE, result.view.stale))
    return lines


def _head(result: CheckResult, problems: Sequence[Problem]) -> list[str]:
    """Say how many are unhealthy, or how many are healthy, and how many nobody looks at."""
    judgement = result.judgement
    if judgement is None:
        return []
    counts, total = judgement.counts, count(monitored(result), "monitored claim")
    if counts.unhealthy and len(problems) == 1 and problems[0].wide_of:
        return [fit(f"{'UNHEALTHY':<9} {_wide(result, problems[0])}", _WIDE_WIDTH), *_aside(result)]
    if counts.unhealthy:
        return _with_aside(result, "UNHEALTHY", f"{counts.unhealthy} of {total}")
    if counts.healthy:
        number = f"{counts.healthy} of {total}" if counts.unknown else f"all of {total}"
        return _with_aside(result, "HEALTHY", number)
    return _aside(result)


def _with_aside(result: CheckResult, word: str, text: str) -> list[str]:
    aside = unmonitored(result)
    one = f"{word:<9} {text} ({aside})"
    return [one] if aside and len(one) <= WIDTH else [_line(word, text), *_aside(result)]


def _aside(result: CheckResult) -> list[str]:
    """Say in a line of its own how many nobody looks at."""
    judgement = result.judgement
    if judgement is None or not judgement.counts.unmonitored:
        return []
    claims = count(judgement.counts.unmonitored, "claim")
    return [_line("NOT MONITORED", f"{claims}: {why_unmonitored(result)}".removesuffix(": "))]


def _wide(result: CheckResult, problem: Problem) -> str:
    where = [count(problem.namespaces, "namespace")]
    if problem.used_on:
        where.append(count(problem.used_on, "node"))
    return (
        f"DRIVER-WIDE: {problem.claims} of {problem.wide_of} claims of {problem.group.driver} "
        f"since {date_and_time(problem.since)}, {headline(problem)}, {', '.join(where)}"
    )


def _rows(result: CheckResult, problems: Sequence[Problem], room: int) -> list[str]:
    """Write a numbered line for each problem, and one for those that there is no room for."""
    shown = problems if len(problems) <= room else problems[: room - 1]
    columns = [_columns(result, problem) for problem in shown]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    lines = []
    for number, (problem, cells) in enumerate(zip(shown, columns, strict=True), 1):
        padded = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(_with_examples(f"{number}. {padded}", problem))
    rest = problems[len(shown) :]
    if rest:
        claims = sum(problem.claims for problem in rest)
        lines.append(f"{len(shown) + 1}. {count(len(rest), 'more problem')} on {count(claims, 'claim')}")
    return lines


def _columns(result: CheckResult, problem: Problem) -> tuple[str, str, str, str]:
    wide = f"DRIVER-WIDE {headline(problem)}" if problem.wide_of else headline(problem)
    number = (
        f"{problem.claims} of {problem.wide_of} claims" if problem.wide_of else count(problem.claims, "claim")
    )
    stale = " (stale)" if problem.stale == problem.claims else ""
    since = f"since {date_and_time(problem.since)}"
    return (fit(wide, 50), number + stale, fit((problem.group.driver + _on(problem)).strip(), 50), since)


def _on(problem: Problem) -> str:
    if not problem.nodes:
        return ""
    return (
        f" on {next(iter(problem.nodes))}" if len(problem.nodes) == 1 else f" on {len(problem.nodes)} nodes"
    )


def _used(problem: Problem) -> list[str]:
    """Name the examples with what uses them: `shop/orders-db (StatefulSet/orders-db)`."""
    users = (*problem.users, *("",) * len(problem.examples))
    return [
        f"{ref} ({user})" if user else str(ref) for ref, user in zip(problem.examples, users, strict=False)
    ]


def _with_examples(line: str, problem: Problem) -> str:
    """Add as many of the examples as fit, one at least if the line has any room."""
    for shown in range(len(problem.examples), 0, -1):
        rest = problem.claims - shown
        for named in (_used(problem)[:shown], [str(ref) for ref in problem.examples[:shown]]):
            names = ", ".join(named) + (f", {rest} more" if rest else "")
            if len(line) + 2 + len(names) <= WIDTH:
                return f"{line}  {names}"
    return fit(line.rstrip(), WIDTH)


def _unknown(judgement: PolicyJudgement) -> list[str]:
    lines = [_unknown_line(group) for group in judgement.unknown[:_UNKNOWN_GROUPS]]
    rest = judgement.unknown[_UNKNOWN_GROUPS:]
    if rest:
        claims = sum(group.claims for group in rest)
        lines[-1] = _line(
            "UNKNOWN", f"{claims + judgement.unknown[_UNKNOWN_GROUPS - 1].claims} claims for other reasons"
        )
    return lines


def _unknown_line(group: UnknownGroup) -> str:
    why = clean(group.message) or group.reason
    who = "" if group.driver in why else f"{group.driver}: "
    return _line("UNKNOWN", f"{count(group.claims, 'claim')}: {who}{why}")


def _beside(judgement: PolicyJudgement) -> list[str]:
    """Say what else matched, in one line."""
    counts, said = judgement.counts, []
    if counts.overridden:
        said.append(f"{counts.overridden} more held by other policies")
    if counts.not_csi:
        said.append(f"{counts.not_csi} more not CSI")
    if counts.ignored:
        said.append(f"{count(counts.ignored, 'claim')} with statements ignored by a rule")
    return [_line("ALSO", ", ".join(said))] if said and counts.selected else []


def _silenced(result: CheckResult) -> list[str]:
    """Say how many of the unhealthy claims people are not told of, and until when."""
    silenced = result.silenced
    if not silenced:
        return []
    first = min(silenced.values(), key=lambda one: (one.until, one.by))
    which = "" if len({one.until for one in silenced.values()}) == 1 else "the first "
    return [_line("SILENCED", f"{count(len(silenced), 'unhealthy claim')}, {which}{first.text}")]


def _where(problems: Sequence[Problem]) -> list[str]:
    if not problems:
        return []
    namespace, name = problems[0].examples[0]
    return [f"All: kubectl get vh -A    One: kubectl describe vh {name} -n {namespace}"]
