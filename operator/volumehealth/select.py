"""Which claims a policy holds, and why it does not hold the others; pure and incremental."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from volumehealth.model.cluster import Claim, Namespace
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy


@dataclass(frozen=True, slots=True)
class Members:
    """The claims of one policy. The same object comes back as long as nothing in it changed.

    Attributes:
        by_driver: claims the policy owns and a CSI driver can be asked about: driver -> volumeHandle -> claims.
        claims_of: how many claims each driver of `by_driver` has.
        overridden: claims it selects and another policy owns, counted by that policy's name.
        unsupported: claims it owns whose volume is not CSI: counted, never monitored, in no other number.
    """

    by_driver: Mapping[str, Mapping[str, tuple[ClaimRef, ...]]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    claims_of: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    overridden: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    unsupported: int = 0

    @property
    def selected(self) -> int:
        """How many claims it owns and can be judged."""
        return sum(self.claims_of.values())


class Selection:
    """Who holds which claim."""

    def update(
        self,
        policies: Mapping[str, Policy],
        claims: Mapping[ClaimRef, Claim],
        namespaces: Mapping[str, Namespace],
        changed: Collection[ClaimRef] | None,
    ) -> None:
        """Follow what changed since the last update.

        Args:
            policies: every policy with a usable spec, suspended ones too, by uid.
            claims: the view's rows, by reference.
            namespaces: the view's namespaces, by name.
            changed: claims that came, changed or went since the last update; None if it may be any.
        """
        raise NotImplementedError

    def members(self, policy_uid: str) -> Members:
        """Return the claims of one policy; none if the policy is not known."""
        raise NotImplementedError

    def owner(self, ref: ClaimRef) -> str | None:
        """Return the uid of the policy that owns a claim; None if no policy selects it."""
        raise NotImplementedError
