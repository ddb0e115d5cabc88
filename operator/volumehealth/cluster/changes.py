"""Which claims changed, told to each consumer at its own pace."""

from collections.abc import Collection

from volumehealth.model.ids import ClaimRef


class Changes:
    """What changed since a consumer looked last."""

    _MOST = 100_000
    """A consumer that never looks must not hold the names of every claim that ever was."""

    def __init__(self) -> None:
        self._changed: set[ClaimRef] | None = None

    def take(self) -> frozenset[ClaimRef] | None:
        """Return the claims that came, changed or went since the last call; None means any of them, as at first."""
        changed, self._changed = self._changed, set()
        return None if changed is None else frozenset(changed)

    def put_back(self, changed: Collection[ClaimRef] | None) -> None:
        """Take what `take` returned and could not be worked off: the next call returns it again."""
        if changed is None:
            self._changed = None
        for ref in changed or ():
            self.add(ref)

    def add(self, ref: ClaimRef) -> None:
        """A claim came, changed or went."""
        if self._changed is not None:
            self._changed.add(ref)
            if len(self._changed) > self._MOST:
                self._changed = None
