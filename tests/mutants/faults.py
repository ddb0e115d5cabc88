"""Faults that the product had once, to be put back: what is there now, and what was there instead.

The names are rows of the list of wrong verdicts and lost words that the project works by.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed file.

    Attributes:
        name: where it is and which operator made it.
        path: of the file, from the package's directory.
        text: of the whole file, changed.
        change: the line before and after.
    """

    name: str
    path: str
    text: str
    change: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Attributes:
        name: its row, and what went wrong.
        path: of the file, from the package's directory.
        edits: pairs of what is there now, each once in the file, and what is to be there.
    """

    name: str
    path: str
    edits: tuple[tuple[str, str], ...]


_GO_ON = "    return answered.go_on(stamp, wall=tick.wall, monotonic=tick.monotonic, longest_gap=tick.longest_gap)\n"

FAULTS = (
    Fault(
        "B4 a driver that changes its words is never believed",
        "judge/claim.py",
        (
            (
                "            if wait.identity in heard.said or wait.origin not in confirmed:\n",
                "            if wait.identity in heard.said:\n",
            ),
        ),
    ),
    Fault(
        "B5 silence counts as if it were answered",
        "judge/claim.py",
        (
            (
                "            kept.append(replace(_stop(finding), stale=True))\n",
                "            kept.append(replace(finding, stale=True))\n",
            ),
            (
                _GO_ON,
                _GO_ON.replace("tick.longest_gap", "timedelta(days=9)"),
            ),
        ),
    ),
    Fault(
        "B6 durations by the wall clock",
        "judge/claim.py",
        (
            (
                _GO_ON,
                _GO_ON.replace("tick.monotonic", "tick.wall.timestamp()"),
            ),
        ),
    ),
    Fault(
        "C7 the policy that loses a claim removes its record",
        "report/recordwriter.py",
        (
            (
                "        if not gone and owner is not None and owner != policy:\n",
                "        if policy == chr(0):\n",
            ),
            (
                "            if owner is not None and policy and (left or owner != policy):\n",
                "            if policy == chr(0):\n",
            ),
        ),
    ),
    Fault(
        "C9 what is known of the claims of an invalid policy is lost at start",
        "app/engine.py",
        (("                    unowned[ref] = health\n", "                    pass\n"),),
    ),
    Fault(
        "D10 a status is taken for written when it was sent",
        "report/statuswriter.py",
        (
            (
                "        coming = state.wanted if _key(policy.uid) in self._queue else state.there\n",
                "        coming = state.wanted or state.there\n",
            ),
            (
                "        patch = merge_patch(union(state.there, state.unconfirmed), state.wanted)\n",
                "        patch = merge_patch(state.there, state.wanted)\n",
            ),
        ),
    ),
    Fault(
        "D10 a record that was written once is not compared again",
        "report/recordwriter.py",
        (
            (
                "        if row is None and written is None:\n            return True\n",
                (
                    "        if row is None and written is None:\n            return True\n"
                    "        if written is not None:\n            return written.digest != digest\n"
                ),
            ),
        ),
    ),
    Fault(
        "D11 each check tries again what was refused",
        "kube/writes.py",
        (
            (
                "            self._place(entry, max(delay, self._backoffs.left(key, _time())))\n",
                "            self._place(entry, delay)\n",
            ),
            ("        return self._backoffs.left(key, _time()) > 0\n", "        return False\n"),
        ),
    ),
    Fault(
        "D12 a write that is replaced by a newer one has no outcome",
        "kube/writes.py",
        (
            (
                (
                    "        if replaced is not None:\n            self._end(replaced, Outcome(Result.REPLACED))\n"
                    "        return True\n"
                ),
                "        return True\n",
            ),
        ),
    ),
    Fault(
        "E13 what is owed is not taken up again at start",
        "report/recordwriter.py",
        (("                self._outbox.restore(ref, read.owed)\n", ""),),
    ),
    Fault(
        "E14 an Event of another episode counts as told",
        "report/outbox.py",
        (
            (
                '        return "|".join((*self.identity, str(self.number), self.since))\n',
                '        return "|".join((*self.identity, str(self.number)))\n',
            ),
        ),
    ),
    Fault(
        "F16 a page with status 200 is an answer to a write",
        "kube/api.py",
        (
            (
                '        if method != "GET":\n            _check_done(',
                "        if method == chr(0):\n            _check_done(",
            ),
        ),
    ),
    Fault(
        "F16 a page with status 404 is Kubernetes' own word",
        "kube/answers.py",
        (
            (
                "        return errors.NotServed(message, status=status, retry_after=wait)\n    if status == 429",
                "        return errors.NotFound(message, status=status, retry_after=wait)\n    if status == 429",
            ),
        ),
    ),
)


def put_back(root: Path) -> Iterator[Mutant]:
    """Return the product with each fault.

    Args:
        root: the package's directory.

    Raises:
        LookupError: if the lines of a fault are not there any more; it has to be written anew.
    """
    for fault in FAULTS:
        text = (root / fault.path).read_text(encoding="utf-8")
        for old, new in fault.edits:
            if text.count(old) != 1:
                raise LookupError(f"{fault.name}: {fault.path} has this {text.count(old)} times:\n{old}")
            text = text.replace(old, new)
        old, new = fault.edits[0]
        yield Mutant(fault.name, fault.path, text, (old.strip(), new.strip() or "(nothing)"))
