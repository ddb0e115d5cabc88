"""Notifications without Prometheus: CloudEvents over HTTP, or words for chat and mail (`chat`).

A mounted file gives the address for each policy. What is to be sent is owed in the outbox, whose durable copy is the claims' records, until the receiver has answered
2xx. So nothing is lost when the receiver or the operator is away. A message may come twice, with the same `id`.
"""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

import aiohttp
import msgspec
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent

from volumehealth.judge.problem import Group
from volumehealth.judge.result import CheckResult
from volumehealth.kube.backoff import Backoffs, Cause, Growth
from volumehealth.model.health import Transition, TransitionKind
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.runbooks import PAGE, runbook
from volumehealth.model.steps import Steps
from volumehealth.model.text import whole_number
from volumehealth.model.vocabulary import GROUP
from volumehealth.report.chat import Words, words_of
from volumehealth.report.outbox import Due, Edge, Outbox, episode_of
from volumehealth.report.output import Output
from volumehealth.report.problems import group_of
from volumehealth.report.text import clean, fit

log = logging.getLogger(__name__)

OUTPUT = "Notifications"
_MANY = 20
"""So many claims with one problem are one message."""
_EXAMPLES = 3
_PER_SECOND = 2.0
_BURST = 20
"""Messages to one address: so many at once, and so many a second after them."""
_TIMEOUT = 10.0
_LONGEST_WAIT = 100_000
"""Seconds that a receiver can make us wait for."""
_KIND = "notification"
_RETRY = Growth(1.0, 2.0, 300.0)
_REFUSED = frozenset({400, 405, 406, 413, 415, 422})
"""Answers that mean that the receiver will never take this message. All others are tried again."""


class Target(msgspec.Struct, frozen=True):
    """Where a policy's notifications go: a policy's file.

    Attributes:
        url, headers: of the receiver of CloudEvents.
        apprise: an address in the form of Apprise, instead of `url`.
    """

    url: str = ""
    headers: dict[str, str] = {}
    apprise: str = ""

    @property
    def usable(self) -> bool:
        """Whether it is one address that can be sent to."""
        if self.apprise:
            return "://" in self.apprise and not self.url
        return self.url.startswith(("http://", "https://"))


class Targets:
    """A directory with a file `<policy>.yaml` for each policy, or `default.yaml` for all others.

    Args:
        directory: its path. What is replaced in it counts at once.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, tuple[int, Target | None]] = {}

    def of(self, policy: str) -> Target | None:
        """Return a policy's target; None if it has none, or its file cannot be used."""
        for name in (policy, "default"):
            path = self._directory / f"{name}.yaml"
            try:
                changed = path.stat().st_mtime_ns
            except OSError:
                continue
            known = self._read.get(path)
            if known is None or known[0] != changed:
                known = self._read[path] = (changed, _read(path))
            return known[1]
        return None


@dataclass(frozen=True, slots=True)
class Message:
    """One CloudEvent, and the dues that it pays."""

    policy: str
    event: CloudEvent
    pays: tuple[tuple[ClaimRef, Due], ...]


class Session(Protocol):
    """Sends one message; returns the status and how long to wait, or raises if nobody answers."""

    async def __call__(self, target: Target, body: bytes, headers: Mapping[str, str], /) -> tuple[int, float]:
        """POST it."""

    async def close(self) -> None:
        """End the connections."""


class Say(Protocol):
    """Sends one message in words to an address in the form of Apprise; returns whether it was taken."""

    async def __call__(self, address: str, words: Words, /) -> bool:
        """Send it."""


class Notifications(Output):
    """Sends a message for each end of each episode; one for many claims with one problem.

    Args:
        targets: where to.
        outbox: what is owed.
        random: jitter.
        send: sends one CloudEvent.
        say: sends one message in words.
        runbooks: the address of the page of runbooks.
        gather: seconds in which turns are gathered, so that many claims with one problem are seen as that.
    """

    name = OUTPUT

    def __init__(
        self,
        targets: Targets,
        *,
        outbox: Outbox,
        random: Random,
        send: Session,
        say: Say,
        runbooks: str = PAGE,
        gather: float = 2.0,
    ) -> None:
        self._targets = targets
        self._outbox = outbox
        self._send = send
        self._say = say
        self._runbooks = runbooks
        self._gather = gather
        self._backoffs = Backoffs(dict.fromkeys(Cause, _RETRY), random=random)
        self._newest: dict[str, CheckResult] = {}
        self._holders: dict[ClaimRef, str] = {}
        self._tokens: dict[str, tuple[float, float]] = {}
        self._untaken: dict[str, dict[str, int]] = {}
        self._sending: set[str] = set()
        self._missed: set[str] = set()
        self._news = asyncio.Event()
        outbox.join(self, lambda _: self._news.set())

    def dues(self, result: CheckResult) -> Iterator[tuple[ClaimRef, Due]]:
        """Return both ends of episodes, if the policy has a target; what is closed has not recovered, and sends nothing."""
        turns = [turn for turn in result.transitions if turn.kind is not TransitionKind.CLOSED]
        if not turns or self._targets.of(result.policy.name) is None:
            return
        for turn in turns:
            self._holders[turn.claim] = result.policy.name
            yield turn.claim, _due(turn)

    def publish(self, result: CheckResult) -> Iterator[None]:
        """Take the newest check of a policy; `run` sends what is owed."""
        self._newest[result.policy.name] = result
        owed = self._outbox.dues_of(OUTPUT)
        healths = result.healths
        for ref, _ in owed:
            if ref in healths:
                self._holders[ref] = result.policy.name
            yield
        for ref in self._holders.keys() - {ref for ref, _ in self._outbox.dues_of(OUTPUT)}:
            del self._holders[ref]
        if owed:
            self._news.set()

    def forget(self, policy: Policy) -> Steps[None]:
        """A policy is gone: it sends nothing more. What it owed goes with the claims' records, to the next policy or away."""
        self._newest.pop(policy.name, None)
        self._untaken.pop(policy.name, None)
        self._tokens.pop(policy.name, None)
        self._backoffs.succeeded(policy.name)
        for ref in [ref for ref, holder in self._holders.items() if holder == policy.name]:
            del self._holders[ref]
        yield

    async def run(self) -> None:
        """Send what is owed until cancelled; each policy by itself, so that one receiver delays no other."""
        self._news.set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._news.wait()
                    self._news.clear()
                    await asyncio.sleep(self._gather)
                    self._missed = self._newest.keys() & self._sending
                    for policy in self._newest.keys() - self._sending:
                        self._sending.add(policy)
                        group.create_task(self._send_all(policy))
        finally:
            await self._send.close()

    async def drain(self, timeout: float) -> int:
        """Give what is owed a moment to be sent; what is left stands in the records."""
        end = asyncio.get_running_loop().time() + timeout
        while self._ready() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - at the end only
            await asyncio.sleep(0.1)
        return len(self._ready())

    def _ready(self) -> list[tuple[ClaimRef, Due]]:
        now = asyncio.get_running_loop().time()
        return [
            (ref, due)
            for ref, due in self._outbox.dues_of(OUTPUT)
            if ref in self._holders and self._backoffs.left(self._holders[ref], now) == 0
        ]

    async def _send_all(self, policy: str) -> None:
        """Send what is owed of one policy until nothing is, or its receiver must be left alone for a while."""
        try:
            wait = await self._round(policy)
        finally:
            self._sending.discard(policy)
        if policy in self._missed:
            wait = 0.0
        if wait is not None:
            asyncio.get_running_loop().call_later(max(0.0, wait - self._gather), self._news.set)

    async def _round(self, policy: str) -> float | None:
        """Send what is owed of one policy; return the seconds until there may be more to do."""
        target, loop = self._targets.of(policy), asyncio.get_running_loop()
        messages = self._in_turn(policy, self._messages(policy))
        if target is None or not messages:
            return None
        for message in messages:
            if not all(self._is_due(policy, ref, due) for ref, due in message.pays):
                return 0.0  # while another one was sent this has changed
            wait = max(self._backoffs.left(policy, loop.time()), self._throttled(policy, loop.time()))
            if wait > 0:
                return wait
            try:
                await self._deliver(target, message)
            except Exception as error:  # noqa: BLE001 - one message must not end the process
                untaken = self._untaken.setdefault(policy, {})
                untaken[message.event.get_id()] = untaken.get(message.event.get_id(), 0) + 1
                # Never the error's own text: it may hold the address.
                log.warning(
                    "a notification was not sent", extra={"policy": policy, "error": type(error).__name__}
                )
                after = error.retry_after if isinstance(error, _Unanswered) else 0.0
                return self._backoffs.failed(
                    policy, Cause.SERVER, kind=_KIND, now=loop.time(), at_least=after
                )
        return None

    def _in_turn(self, policy: str, messages: Sequence[Message]) -> Sequence[Message]:
        """Put messages that were sent in vain behind the others, which they must not hold up.

        Words about one claim stay in order.

        Args:
            policy: whose they are.
            messages: the oldest first.
        """
        known = self._untaken.pop(policy, {})
        untaken = {name: known[name] for one in messages if (name := one.event.get_id()) in known}
        if not untaken:
            return messages
        self._untaken[policy] = untaken
        turns: dict[ClaimRef, int] = {}
        placed: list[tuple[int, Message]] = []
        for message in messages:
            refs = [ref for ref, _ in message.pays]
            turn = max(untaken.get(message.event.get_id(), 0), *(turns.get(ref, 0) for ref in refs))
            turns |= dict.fromkeys(refs, turn)
            placed.append((turn, message))
        return [message for _, message in sorted(placed, key=lambda one: one[0])]

    async def _deliver(self, target: Target, message: Message) -> None:
        if target.apprise:
            await self._deliver_words(target, message)
        else:
            await self._deliver_event(target, message)
        self._backoffs.succeeded(message.policy)
        for ref, due in message.pays:
            self._outbox.pay(ref, due, claim=True)

    async def _deliver_words(self, target: Target, message: Message) -> None:
        data: Any = message.event.get_data()
        if not await self._say(target.apprise, words_of(message.event.get_subject() or "", data)):
            raise _Unanswered("not taken", 0.0)

    async def _deliver_event(self, target: Target, message: Message) -> None:
        sent = to_structured_event(message.event)
        status, retry_after = await self._send(target, sent.body, {**target.headers, **sent.headers})
        if status in _REFUSED:
            log.warning("a notification was refused", extra={"policy": message.policy, "status": status})
        elif not 200 <= status < 300:
            raise _Unanswered(f"status {status}", retry_after)

    def _throttled(self, policy: str, now: float) -> float:
        """Take a token of a policy's bucket; return how long to wait for one."""
        tokens, at = self._tokens.get(policy, (float(_BURST), now))
        tokens = min(float(_BURST), tokens + (now - at) * _PER_SECOND)
        if tokens < 1:
            self._tokens[policy] = (tokens, now)
            return (1 - tokens) / _PER_SECOND
        self._tokens[policy] = (tokens - 1, now)
        return 0.0

    def _messages(self, policy: str) -> list[Message]:
        """Return what may be sent of one policy, the oldest first; many claims with one problem are one message."""
        groups: dict[tuple[Edge, Group], list[tuple[ClaimRef, Due]]] = defaultdict(list)
        self._drop_silenced(policy)
        for ref, due in self._outbox.dues_of(OUTPUT):
            if self._silenced(policy, ref, due):
                continue
            ready = self._outbox.may_tell(ref, due.edge, episode_of(due.uid, due.finding))
            if ready and self._holders.get(ref) == policy:
                groups[due.edge, group_of(self._driver(policy, ref), due.finding)].append((ref, due))
        messages = []
        for (edge, group), owed in groups.items():
            if len(owed) >= _MANY:
                messages.append(_many(policy, edge, group, owed, self._runbooks))
            else:
                messages += [_one(policy, group.driver, ref, due, self._runbooks) for ref, due in owed]
        return sorted(messages, key=lambda one: (min(due.time for _, due in one.pays), one.event.get_id()))

    def _is_due(self, policy: str, ref: ClaimRef, due: Due) -> bool:
        """Tell whether something is still to be sent, and by this policy, and now."""
        ours = self._holders.get(ref) == policy and not self._silenced(policy, ref, due)
        return ours and any(due.key == one.key for one in self._outbox.due_of(ref, OUTPUT))

    def _silenced(self, policy: str, ref: ClaimRef, due: Due) -> bool:
        result = self._newest.get(policy)
        return result is not None and result.silence(ref, due.finding) is not None

    def _drop_silenced(self, policy: str) -> None:
        """Forget what began and ended within a silence; what is still wrong at its end is sent then."""
        silenced: dict[tuple[ClaimRef, str, str], list[Due]] = defaultdict(list)
        for ref, due in self._outbox.dues_of(OUTPUT):
            if self._holders.get(ref) == policy and self._silenced(policy, ref, due):
                silenced[ref, due.uid, episode_of(due.uid, due.finding).text].append(due)
        for (ref, _, _), dues in silenced.items():
            if {due.edge for due in dues} == {Edge.ABNORMAL, Edge.NORMAL}:
                for due in dues:
                    self._outbox.cancel(ref, due)

    def _driver(self, policy: str, ref: ClaimRef) -> str:
        result = self._newest.get(policy)
        claim = result.claims.get(ref) if result is not None else None
        return claim.driver if claim is not None else ""


class _Unanswered(Exception):  # noqa: N818 - no fault of this program
    """The receiver did not take a message and may take it later."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class HttpSession:
    """Sends with aiohttp; makes its session when it is first used, on the loop that runs then."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, target: Target, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        """POST a message; redirects are not followed, they would carry the headers elsewhere."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT), trust_env=True
            )
        async with self._session.post(
            target.url, data=body, headers=dict(headers), allow_redirects=False
        ) as answer:
            after = whole_number(answer.headers.get("Retry-After", "")) or 0
            return answer.status, float(min(after, _LONGEST_WAIT))

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()


def _read(path: Path) -> Target | None:
    import yaml  # only where somebody is notified

    from volumehealth.policy.yamltext import load_texts

    try:
        # Every value is the text that is written: a header `0123` or `yes` is no number and no truth.
        content = load_texts(path.read_text(encoding="utf-8"))
        target = msgspec.convert(content, Target)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, msgspec.MsgspecError) as error:
        # Never the error's own text: a parser quotes what it could not read.
        log.warning(
            "a notification target is not readable",
            extra={"file": path.name, "error": type(error).__name__},
        )
        return None
    if not target.usable:
        log.warning("a notification target is not one address", extra={"file": path.name})
        return None
    return target


def _due(turn: Transition) -> Due:
    edge = Edge.ABNORMAL if turn.kind is TransitionKind.FOUND else Edge.NORMAL
    return Due(OUTPUT, edge, turn.uid, turn.finding, turn.time)


def _one(policy: str, driver: str, ref: ClaimRef, due: Due, runbooks: str) -> Message:
    episode = episode_of(due.uid, due.finding)
    data = {
        **_problem(policy, driver, due, runbooks),
        "namespace": ref.namespace,
        "persistentVolumeClaim": ref.name,
        "claimUID": due.uid,
        "node": due.finding.node,
        "message": fit(clean(due.finding.message), 1024),
        "episode": due.finding.episode,
    }
    identifier = f"{due.uid}|{episode.text}|{due.edge}"
    return Message(policy, _event(identifier, due, str(ref), policy, data), ((ref, due),))


def _many(
    policy: str, edge: Edge, group: Group, owed: Sequence[tuple[ClaimRef, Due]], runbooks: str
) -> Message:
    _, first = min(owed, key=lambda one: (one[1].finding.since, one[0]))
    refs = sorted({ref for ref, _ in owed})  # one of them may have it on many nodes
    data = {
        **_problem(policy, group.driver, first, runbooks),
        "claims": len(refs),
        "namespaces": len({ref.namespace for ref in refs}),
        "examples": [str(ref) for ref in refs[:_EXAMPLES]],
        "message": fit(clean(first.finding.message), 1024),
    }
    members = "|".join(sorted(f"{due.uid}|{episode_of(due.uid, due.finding).text}" for _, due in owed))
    identifier = "|".join((policy, *group, edge, hashlib.sha256(members.encode()).hexdigest()[:16]))
    return Message(policy, _event(identifier, first, group.driver or group.reason, policy, data), tuple(owed))


def _problem(policy: str, driver: str, due: Due, runbooks: str) -> dict[str, Any]:
    finding = due.finding
    return {
        "policy": policy,
        "driver": driver,
        "source": str(finding.source),
        "status": finding.status,
        "reason": fit(clean(finding.reason), 256),
        "since": finding.since.isoformat(),
        "edge": str(due.edge),
        "runbook": runbook(finding.reason, runbooks),
    }


def _event(identifier: str, due: Due, subject: str, policy: str, data: dict[str, Any]) -> CloudEvent:
    attributes = {
        "specversion": "1.0",
        "id": identifier,
        "type": f"dev.volumehealth.{str(due.edge).lower()}",
        "source": f"/apis/{GROUP}/policies/{policy}",
        "subject": subject,
        "time": due.time,
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes, data)
