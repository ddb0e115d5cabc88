"""Which claims an output looks at: those of which something has changed, and those that it has not settled yet.

Ten thousand volumes may be bad for days, and nothing new is to be told of them. What a check found of a claim is one
immutable object, which stays the same object while it does; what else a claim's telling follows from (its row, its Pods,
its record) the view tells of. So a claim is looked at once more for each change, and after that until its output says that
nothing is left to do or to wait for.
"""

from collections.abc import Collection, Iterable, Mapping

from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef


class Agenda:
    """The claims that one output has to look at, by the policy that holds them.

    Whoever looks at a claim settles it in the same step: between steps it may have changed again.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Mapping[ClaimRef, ClaimHealth]] = {}
        self._open: dict[str, dict[ClaimRef, None]] = {}

    def of(self, policy: str, healths: Mapping[ClaimRef, ClaimHealth]) -> list[ClaimRef]:
        """Return the claims to look at after a check; those that are not in `healths` any more are among them, once.

        Args:
            policy: its name.
            healths: what the check found.
        """
        seen, to_do = self._seen.get(policy, {}), self._open.setdefault(policy, {})
        if healths is not seen:
            to_do.update(dict.fromkeys(ref for ref, health in healths.items() if seen.get(ref) is not health))
            to_do.update(dict.fromkeys(ref for ref in seen if ref not in healths))
            self._seen[policy] = healths
        return list(to_do)

    def settle(self, policy: str, ref: ClaimRef) -> None:
        """Nothing is left to do about a claim, nor to wait for, until something changes."""
        self._open.get(policy, {}).pop(ref, None)

    def add(self, policy: str, refs: Iterable[ClaimRef]) -> None:
        """Look at these claims in the policy's next check, whether or not anything is found of them."""
        self._open.setdefault(policy, {}).update(dict.fromkeys(refs))

    def look_again(self, refs: Collection[ClaimRef] | None, *, policy: str | None = None) -> None:
        """Look again at those of these claims of which something was found; None means any.

        Args:
            refs: the claims.
            policy: only at those that it holds.
        """
        for name, seen in self._seen.items():
            if policy in (None, name):
                self.add(name, seen if refs is None else (ref for ref in refs if ref in seen))

    def forget(self, policy: str) -> None:
        """A policy is gone."""
        self._seen.pop(policy, None)
        self._open.pop(policy, None)
