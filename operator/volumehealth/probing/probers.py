"""All probers of a process: demand goes to them by driver name, answers come back by driver name."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from volumehealth.csi.endpoint import Endpoint
from volumehealth.model.clock import Clock
from volumehealth.model.health import DriverAnswers
from volumehealth.probing.calls import ProbeMetrics
from volumehealth.probing.prober import ControllerProber
from volumehealth.probing.spec import ProbeLimits, ProbeSpec


class Probers:
    """The probers of all endpoints; each runs for itself, so that a driver that hangs delays nobody else.

    Of several endpoints of one driver one is asked: the first that answers and has a health call, in the order they were
    given, and as long as it does. While none answers it stays with the one that did last.

    Args:
        endpoints: each with the driver's name if that was given.
        clock: the time.
        on_news: called with the name of a driver whose answers differ materially from before.
        on_same: called with the name of a driver that said the same again.
        metrics: counts calls.
        secrets: by driver name, for CSI 1.13's calls.
        random: for jitter.
        limits: how much a driver may be burdened.
        options: further arguments of each ControllerProber.
    """

    def __init__(
        self,
        endpoints: Iterable[tuple[Endpoint, str]],
        *,
        clock: Clock,
        on_news: Callable[[str], None],
        metrics: ProbeMetrics,
        secrets: Callable[[str], Mapping[str, str]],
        random: Random,
        limits: ProbeLimits | None = None,
        on_same: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> None:
        self._on_news = on_news
        self._on_same = on_same
        self._wanted: Mapping[str, ProbeSpec] = {}
        self._chosen: dict[str, ControllerProber] = {}
        self._probers: Sequence[ControllerProber] = [
            ControllerProber(
                endpoint,
                clock=clock,
                on_news=partial(self._news, number),
                on_same=partial(self._same, number),
                metrics=metrics,
                secrets=secrets,
                random=random,
                limits=limits,
                driver_name=name,
                **options,
            )
            for number, (endpoint, name) in enumerate(endpoints)
        ]

    async def run(self) -> None:
        """Run all probers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for prober in self._probers:
                group.create_task(prober.run())

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        """Set what is wanted, by driver name; a driver that is not named rests. Unknown names are kept for later."""
        self._wanted = wanted
        self._choose()
        self._spread()

    def answers(self) -> Mapping[str, DriverAnswers]:
        """Return the newest answers by driver name; a driver that no endpoint is known for is missing."""
        self._choose()
        others = self._others()
        return {
            name: _with_note(prober.answers(), others.get(name, ())) for name, prober in self._chosen.items()
        }

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Addresses of endpoints whose driver is not known yet."""
        return tuple(str(prober.endpoint) for prober in self._probers if prober.driver_name is None)

    def _news(self, number: int) -> None:
        prober = self._probers[number]
        name = prober.driver_name
        before = self._chosen.get(name or "")
        self._choose()  # the name may have become known with this news, or the driver may have stopped answering
        if name is not None and prober in (before, self._chosen[name]):
            self._on_news(name)

    def _same(self, number: int) -> None:
        name = self._probers[number].driver_name
        if name is not None and self._chosen.get(name) is self._probers[number]:
            self._on_same(name)

    def _choose(self) -> None:
        """Choose of each driver's probers the one that is asked, and tell all what is wanted of them."""
        chosen = {name: self._best(name, probers) for name, probers in self._by_driver().items()}
        if chosen != self._chosen:
            self._chosen = chosen
            self._spread()

    def _best(self, name: str, probers: Sequence[ControllerProber]) -> ControllerProber:
        chosen = self._chosen.get(name)
        current = chosen if chosen is not None and chosen in probers else probers[0]
        if len(probers) == 1 or (current.able and current.heard):
            return current
        reached = next((prober for prober in probers if prober.reached), current)
        return next((prober for prober in probers if prober.able), reached)

    def _spread(self) -> None:
        for prober in self._probers:
            name = prober.driver_name
            asked = name is not None and self._chosen.get(name) is prober
            prober.demand(self._wanted.get(name) if asked and name is not None else None)

    def _by_driver(self) -> dict[str, list[ControllerProber]]:
        found: dict[str, list[ControllerProber]] = {}
        for prober in self._probers:
            if prober.driver_name is not None:
                found.setdefault(prober.driver_name, []).append(prober)
        return found

    def _others(self) -> dict[str, list[str]]:
        return {
            name: [str(prober.endpoint) for prober in probers if prober is not self._chosen[name]]
            for name, probers in self._by_driver().items()
            if len(probers) > 1
        }


def _with_note(answers: DriverAnswers, others: Sequence[str]) -> DriverAnswers:
    if not others:
        return answers
    note = f"not asked, being of the same driver: {', '.join(others)}"
    message = "; ".join(text for text in (answers.driver.message, note) if text)
    return replace(answers, driver=replace(answers.driver, message=message))
