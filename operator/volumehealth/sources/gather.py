"""All sources asked in turn, and what they say put together for the judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from volumehealth.judge.result import Agents
from volumehealth.judge.storage import Backend, StorageEvidence
from volumehealth.model.health import (
    Answer,
    DriverState,
    Evidence,
    HealthyOnNodes,
    Origins,
    Source,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.steps import Steps
from volumehealth.sources.context import Context
from volumehealth.sources.drivers import through_agents
from volumehealth.sources.moments import NotAhead
from volumehealth.sources.origins import NotObserved
from volumehealth.sources.source import OF_STORAGE, Asked, HealthSource, Observed, Wanted

_Owner = tuple[Source, Observer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered(Evidence):
    """What all sources say of a policy's claims at one moment: evidence for the judge, and what is shown beside it.

    Attributes:
        storage: what is said of the storage behind drivers.
        states: of every driver whose claims the policy selects.
        agents: those whose nodes carry claims of the policy.
        unresolved: configured endpoints that never answered.
    """

    storage: StorageEvidence
    states: Mapping[str, DriverState]
    agents: Agents
    unresolved: tuple[str, ...]


class Sources:
    """The sources of a process (`sourcelist.make_sources`).

    Args:
        all_of_them: in the order in which they are asked.
        context: what they share; None if they share nothing.
    """

    def __init__(self, all_of_them: Sequence[HealthSource], *, context: Context | None = None) -> None:
        self.all = tuple(all_of_them)
        self._context = context
        self._since: dict[str, NotAhead] = {}

    def want(self, wanted: Wanted) -> None:
        """Tell every source what is wanted."""
        for source in self.all:
            source.want(wanted)

    def forget(self, policy_uid: str) -> None:
        """A policy is gone."""
        self._since.pop(policy_uid, None)
        if self._context is not None:
            self._context.forget(policy_uid)
        for source in self.all:
            source.forget(policy_uid)

    def gather(self, asked: Asked, stale_reason: str) -> Steps[Gathered]:
        """Ask every source about a policy's claims.

        Args:
            asked: the policy, its claims, the moment.
            stale_reason: why the cluster view must not be trusted; empty if it may be.
        """
        if self._context is not None:
            yield from self._context.follow(asked)
        said: dict[ClaimRef, list[Answer]] = {}
        observed: list[Observed] = []
        for source in self.all:
            one = yield from source.observe(asked)
            # The view may change between steps, so what a source says of it is taken in one.
            for ref, answer in one.statements:
                said.setdefault(ref, []).append(answer)
            observed.append(one)
            yield
        owned = [
            (owner, one) for source, one in zip(self.all, observed, strict=True) for owner in source.observers
        ]

        def origins_of(backend: Backend) -> Origins:
            telling = (
                (owner, one.storage_origins) for owner, one in owned if one.storage_origins is not None
            )
            return _AllOrigins.of({owner: of(backend.driver) for owner, of in telling}, asked.now)

        answers = {name: of_driver for one in observed for name, of_driver in one.drivers.items()}
        on_nodes = {name: driver for one in observed for name, driver in one.on_nodes.items()}
        states = {
            name: through_agents(answers[name].driver, on_nodes.get(name)) for name in asked.members.by_driver
        }
        return Gathered(
            drivers=answers,
            claims={ref: tuple(of_claim) for ref, of_claim in said.items()},
            stale_reason=stale_reason,
            healthy_on_nodes=next(
                (one.covered for one in observed if one.covered is not None), HealthyOnNodes()
            ),
            origins=_AllOrigins.of({owner: one.origins for owner, one in owned}, asked.now),
            storage=_storage(observed, origins_of),
            states=self._dated(states, asked),
            agents=next((one.agents for one in observed if one.agents is not None), Agents()),
            unresolved=tuple(endpoint for one in observed for endpoint in one.unresolved),
        )

    def _dated(self, drivers: Mapping[str, DriverState], asked: Asked) -> dict[str, DriverState]:
        """Return the states of drivers, none of them since a moment that has not come."""
        told = {name: driver.since for name, driver in drivers.items()}
        since = self._since.setdefault(asked.policy.uid, NotAhead()).show(told, asked.now)
        return {
            name: driver if since[name] == driver.since else replace(driver, since=since[name])
            for name, driver in drivers.items()
        }


@dataclass(frozen=True, slots=True)
class _AllOrigins:
    """Every origin, for one policy at one moment: each is its source's to answer for.

    Attributes:
        owners: who answers for a source and an observer.
        planes: who answers for the other observers of a source (a record may name some that are not known here).
        others: answers for the rest.
    """

    owners: Mapping[_Owner, Origins]
    planes: Mapping[Source, Origins]
    others: Origins

    @classmethod
    def of(cls, owners: Mapping[_Owner, Origins], now: datetime) -> "_AllOrigins":
        """Make it of who answers for what; the first of a plane answers for its unknown observers."""
        planes: dict[Source, Origins] = {}
        for (plane, _), origins in owners.items():
            planes.setdefault(plane, origins)
        return cls(owners, planes, NotObserved(now))

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        known = self.owners.get((origin.source, origin.observer)) or self.planes.get(origin.source)
        return (known or self.others).state_of(claim, origin, reason)


def _storage(observed: Sequence[Observed], origins_of: Callable[[Backend], Origins]) -> StorageEvidence:
    said: dict[Backend, OF_STORAGE] = {}
    for one in observed:
        for backend, (answers, touched) in one.storage.items():
            earlier, before = said.get(backend, ((), ()))
            said[backend] = ((*earlier, *answers), tuple(sorted({*before, *touched})))
    return StorageEvidence(
        {backend: answers for backend, (answers, _) in said.items()},
        {backend: touched for backend, (_, touched) in said.items()},
        origins_of,
    )
