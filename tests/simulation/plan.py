"""What a seed stands for: a world, and what is done to it. A plan can be written down, and made smaller."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any

from simulation.machines import NODE_FAULTS, ONLY_ON
from simulation.network import FAULTS
from volumehealth.policy.durations import parse_duration

Json = dict[str, Any]
ILLNESSES = (
    ("Degraded", "ReplicaLost", "one of two replicas is gone"),
    ("Inaccessible", "ArrayUnreachable", "the array does not answer"),
    ("DataLoss", "Corrupted", "blocks were lost"),
    ("Inaccessible", "Changing*", "the array says something else each time"),
)
"""Status, reason and words; a star in a reason is another word in each answer."""
_MISHAPS = (
    "kill",
    "freeze",
    "jump",
    "driver_down",
    "driver_hangs",
    "driver_fails",
    "nil",
    "compact",
    "policy_edit",
    "policy_suspend",
    "policy_delete",
    "policy_invalid",
    "relabel",
    "claim_delete",
    "pod_move",
    "record_delete",
    "record_edit",
    "events_delete",
)
NODES = ("node-0", "node-1")
FILESYSTEMS = ("ext4", "ext4", "xfs")
NODE_MISHAPS = (
    "agent_kill",
    "agent_freeze",
    "agent_away",
    "agent_removed",
    "report_delete",
    "log_unreadable",
)
_JUMPS = (-7200, -3600, -61, -5, 5, 61, 3600, 86400)
"""Seconds by which a wall clock is set."""
_CODES = ("INTERNAL", "UNAVAILABLE", "ABORTED", "NOT_FOUND", "UNIMPLEMENTED", "UNIMPLEMENTED")
"""What a plugin on a node fails with."""
_STRIKES = (
    "storm",
    "storm and kill",
    "kill",
    "jump",
    "driver_down",
    "invalid and kill",
    "suspend and relabel",
    "record_delete",
)
_OF_WRITES = (
    "refused",
    "lost request",
    "lost answer",
    "silent answer",
    "html 200",
    "html 404",
    "error 403",
    "error 409",
    "error 503",
    "truncated",
)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done to the world.

    Attributes:
        at: virtual seconds.
        do: the name of a method of `World`, without `do_`.
        how: its arguments.
    """

    at: float
    do: str
    how: Json = field(default_factory=dict)

    def __str__(self) -> str:
        minutes, seconds = divmod(self.at, 60)
        words = ", ".join(f"{name}={value}" for name, value in self.how.items())
        return f"{int(minutes):4d}:{seconds:06.3f} {self.do}({words})"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run.

    Attributes:
        seed: decides everything that the plan does not.
        until: when the phase with faults ends.
        drag: seconds that one step of a process takes.
        replicas: of the operator.
        drivers: options of each, with its name.
        policies: name and spec of each.
        claims: name, labels, driver and handle of each.
        actions: in order of time.
        agents: whether an agent runs on each node.
    """

    seed: int
    until: float
    drag: float
    replicas: int
    drivers: tuple[Json, ...]
    policies: tuple[Json, ...]
    claims: tuple[Json, ...]
    actions: tuple[Action, ...]
    agents: bool = False

    def dump(self, indent: int | None = 1) -> str:
        """Return it as JSON; in one line if it is not to be indented."""
        return json.dumps(asdict(self), indent=indent)

    @staticmethod
    def load(text: str) -> "Plan":
        """Read what `dump` wrote."""
        raw = json.loads(text)
        actions = tuple(Action(**one) for one in raw.pop("actions"))
        drivers, policies, claims = (tuple(raw.pop(name)) for name in ("drivers", "policies", "claims"))
        return Plan(drivers=drivers, policies=policies, claims=claims, actions=actions, **raw)


def make_plan(seed: int, minutes: float = 120.0, *, agents: bool | None = None) -> Plan:
    """Make the plan of a seed.

    Args:
        seed: any number.
        minutes: of virtual time in which faults happen.
        agents: whether an agent runs on each node; None lets the seed decide.
    """
    random = Random(seed)
    until = 60.0 * minutes
    drag = random.choice((0.0, 0.0, 1e-5, 1e-3))
    replicas = random.choice((1, 1, 2))
    drivers = tuple(_driver(random, number) for number in range(random.choice((1, 1, 2, 3))))
    policies = tuple(_policy(random, number, drivers) for number in range(random.choice((1, 1, 2, 3))))
    claims = tuple(_claim(random, number, drivers) for number in range(random.choice((1, 3, 3, 8))))
    build = _Builder(random, until, replicas, drivers, policies, claims)
    turns = list(build.illnesses())
    actions = [*turns, *build.storms(), *build.mishaps(), *build.strikes(turns)]
    plan = Plan(
        seed=seed,
        until=until,
        drag=drag,
        replicas=replicas,
        drivers=drivers,
        policies=policies,
        claims=claims,
        actions=tuple(sorted(actions, key=lambda one: one.at)),
    )
    plan = _with_timers(Random(f"timers of {seed}"), plan)
    own = Random(f"nodes of {seed}")  # so that what has nothing to do with nodes is the same with and without
    if agents if agents is not None else own.random() < 0.5:
        plan = _with_failing_nodes(Random(f"failing nodes of {seed}"), _with_nodes(own, plan))
        plan = _with_ailing_plugins(Random(f"ailing plugins of {seed}"), plan)
    return _with_upgrades(Random(f"upgrades of {seed}"), plan)


def _with_timers(random: Random, plan: Plan) -> Plan:
    """Let timers of policies stand still now and then, in few plans."""
    actions = list(plan.actions)
    now = random.expovariate(1 / 1800.0) if random.random() < 0.3 else plan.until
    while now < plan.until:
        actions.append(Action(now, "timer_stuck", {"name": random.choice(plan.policies)["name"]}))
        now += random.expovariate(1 / 1800.0)
    return replace(plan, actions=tuple(sorted(actions, key=lambda one: one.at)))


def _with_upgrades(random: Random, plan: Plan) -> Plan:
    """Let other versions of drivers, which have fewer health calls, run for a while, in few plans."""
    if random.random() < 0.7:
        return plan
    actions = list(plan.actions)
    mean, length = random.choice((600.0, 1800.0)), random.choice((60.0, 300.0, 1200.0))
    now = random.expovariate(1 / mean)
    while now < plan.until:
        driver = random.choice(plan.drivers)
        how: Json = {"name": driver["name"], "seconds": round(random.expovariate(1 / length) + 1.0, 1)}
        how["anew"] = random.random() < 0.7
        if driver.get("node_health") and random.random() < 0.5:
            actions.append(Action(now, "plugin_upgrade", how | {"node": random.choice(NODES)}))
        elif driver["lists"] or driver["gets"]:
            lacks = random.choice((["lists"], ["gets"], ["lists", "gets"]))
            actions.append(Action(now, "controller_upgrade", how | {"lacks": lacks}))
        now += random.expovariate(1 / mean)
    return replace(plan, actions=tuple(sorted(actions, key=lambda one: one.at)))


def _with_nodes(random: Random, plan: Plan) -> Plan:
    """Let an agent run on each node, some drivers be mute, and things break on nodes."""
    drivers = tuple(
        one
        | ({"lists": False, "gets": False} if random.random() < 0.4 else {})
        | {"node_health": random.random() < 0.3 and (one["legacy"] or not _changes_words(plan, one["name"]))}
        for one in plan.drivers
    )
    mute = {one["name"] for one in drivers if not (one["lists"] or one["gets"] or one["node_health"])}
    unheard = {claim["handle"] for claim in plan.claims if claim["driver"] in mute}
    actions = [one for one in plan.actions if one.how.get("handle") not in unheard]
    plan = replace(plan, claims=tuple(one | {"fs": random.choice(FILESYSTEMS)} for one in plan.claims))
    actions += _node_faults(random, plan)
    for kind in random.sample(NODE_MISHAPS, random.choice((0, 1, 1, 2))):
        mean = random.choice((300.0, 900.0, 1800.0))
        now = random.expovariate(1 / mean)
        while now < plan.until:
            how: Json = {"node": random.choice(NODES)}
            if kind not in ("agent_kill", "report_delete"):
                how["seconds"] = round(random.expovariate(1 / random.choice((20.0, 120.0, 600.0))), 1)
            actions.append(Action(now, kind, how))
            now += random.expovariate(1 / mean)
    return replace(plan, drivers=drivers, actions=tuple(sorted(actions, key=lambda one: one.at)), agents=True)


def _with_failing_nodes(random: Random, plan: Plan) -> Plan:
    """Let nodes be not Ready, or be deleted, for a while, in some plans."""
    actions = list(plan.actions)
    mean = random.choice((600.0, 1200.0, 2400.0))
    length = random.choice((60.0, 300.0, 600.0, 1200.0))
    now = random.expovariate(1 / mean) if random.random() < 0.5 else plan.until
    while now < plan.until:
        how: Json = {
            "node": random.choice(NODES),
            "seconds": round(random.expovariate(1 / length) + 1.0, 1),
        }
        if random.random() < 0.25:
            actions.append(Action(now, "node_deleted", how))
        else:
            how |= {"ready": random.choice(("False", "Unknown")), "with_agent": random.random() < 0.4}
            actions.append(Action(now, "node_not_ready", how))
        now += random.expovariate(1 / mean)
    return replace(plan, actions=tuple(sorted(actions, key=lambda one: one.at)))


def _changes_words(plan: Plan, driver: str) -> bool:
    """Tell whether a driver gives another reason in each answer about any volume."""
    handles = {claim["handle"] for claim in plan.claims if claim["driver"] == driver}
    return any("*" in one.how.get("reason", "") for one in plan.actions if one.how.get("handle") in handles)


def _with_ailing_plugins(random: Random, plan: Plan) -> Plan:
    """Let plugins on nodes be gone, hang or fail for a while, in some plans."""
    if random.random() < 0.5:
        return plan
    drivers = tuple(
        one
        | {
            "node_health": one["node_health"]
            or (random.random() < 0.5 and (one["legacy"] or not _changes_words(plan, one["name"])))
        }
        for one in plan.drivers
    )
    telling = [one["name"] for one in drivers if one["node_health"]]
    actions = list(plan.actions)
    mean, length = random.choice((300.0, 900.0, 1800.0)), random.choice((20.0, 120.0, 600.0))
    now = random.expovariate(1 / mean) if telling else plan.until
    while now < plan.until:
        seconds = round(random.expovariate(1 / length) + 1.0, 1)
        how: Json = {"node": random.choice(NODES), "name": random.choice(telling), "seconds": seconds}
        kind = random.choice(("plugin_down", "plugin_hangs", "plugin_fails"))
        actions.append(
            Action(now, kind, how | ({"code": random.choice(_CODES)} if kind == "plugin_fails" else {}))
        )
        now += random.expovariate(1 / mean)
    return replace(plan, drivers=drivers, actions=tuple(sorted(actions, key=lambda one: one.at)))


def _node_faults(random: Random, plan: Plan) -> Iterator[Action]:
    """Let things break and be mended where volumes are mounted."""
    for claim in plan.claims:
        scale = random.choice((20.0, 60.0, 300.0, 900.0))
        shown = [kind for kind in NODE_FAULTS if ONLY_ON.get(kind, claim["fs"]) == claim["fs"]]
        kinds = random.sample(shown, random.choice((1, 1, 2, 3)))
        now = 90.0 + random.expovariate(1 / scale)
        while now < plan.until:
            yield Action(now, "node_fault", {"name": claim["name"], "kind": random.choice(kinds)})
            now += random.expovariate(1 / scale)
            if now < plan.until and random.random() < 0.95:
                yield Action(now, "node_heal", {"name": claim["name"]})
            now += random.expovariate(1 / scale)


def _driver(random: Random, number: int) -> Json:
    calls = random.choice(((True, True), (True, False), (False, True)))
    return {
        "name": f"drv{number}.csi.example.com",
        "legacy": random.random() < 0.5,
        "lists": calls[0],
        "gets": calls[1],
        "pages": random.choice((0, 0, 1, 2)),
    }


def _policy(random: Random, number: int, drivers: Sequence[Json]) -> Json:
    return {"name": f"policy-{number}", "spec": _spec(random, number, drivers)}


def _spec(random: Random, number: int, drivers: Sequence[Json]) -> Json:
    spec: Json = {
        "interval": random.choice(("5s", "5s", "10s", "30s", "1m")),
        "timeout": random.choice(("2s", "5s", "15s")),
        "unhealthyAfter": random.choice(("10s", "30s", "1m", "2m")),
        "healthyAfter": random.choice(("10s", "1m", "2m", "5m")),
        "priority": random.choice((0, 0, number)),
    }
    selector: Json = {}
    if number and random.random() < 0.5:
        selector["claimSelector"] = {"matchLabels": {"team": random.choice("ab")}}
    if number and random.random() < 0.3:
        selector["drivers"] = [random.choice(drivers)["name"]]
    return spec | ({"selector": selector} if selector else {})


def _claim(random: Random, number: int, drivers: Sequence[Json]) -> Json:
    return {
        "name": f"data-{number}",
        "driver": random.choice(drivers)["name"],
        "handle": f"vol-{number}",
        "labels": {"team": random.choice("ab")},
    }


class _Builder:
    """Makes the actions of a plan."""

    def __init__(
        self,
        random: Random,
        until: float,
        replicas: int,
        drivers: Sequence[Json],
        policies: Sequence[Json],
        claims: Sequence[Json],
    ) -> None:
        self._random = random
        self._until = until
        self._replicas = replicas
        self._drivers = drivers
        self._policies = policies
        self._claims = claims

    def illnesses(self) -> Iterator[Action]:
        """Let each volume fall ill and be healed again and again, with one kind of illness."""
        random = self._random
        for claim in self._claims:
            status, reason, message = random.choice(ILLNESSES)
            scale = random.choice((20.0, 60.0, 300.0, 900.0))
            now = 60.0 + random.expovariate(1 / scale)
            how = {"handle": claim["handle"], "status": status, "reason": reason, "message": message}
            last = self._until - (2.0 if "*" in reason else 0.0)
            while now < last:
                yield Action(now, "ill", how)
                now += random.expovariate(1 / scale)
                if now < self._until and random.random() < 0.95:
                    yield Action(now, "well", {"handle": claim["handle"]})
                now += random.expovariate(1 / scale)

    def storms(self) -> Iterator[Action]:
        """Let some faults happen at some rates for some time, then none for some time."""
        random = self._random
        severity = random.choice((0.0, 0.3, 1.0))
        now = random.expovariate(1 / 900.0)
        while severity and now < self._until:
            seconds = random.expovariate(1 / 300.0)
            kinds = random.sample(FAULTS, random.randint(1, 6))
            rates = {kind: round(severity * random.choice((0.02, 0.1, 0.3, 0.9)), 3) for kind in kinds}
            yield Action(now, "storm", {"rates": rates, "seconds": round(min(seconds, self._until - now), 1)})
            now += seconds + random.expovariate(1 / 900.0)

    def mishaps(self) -> Iterator[Action]:
        """Kill, freeze, set clocks, stop drivers; users edit and delete."""
        random = self._random
        for kind in random.sample(_MISHAPS, random.randint(0, 6)):
            mean = random.choice((120.0, 600.0, 1800.0))
            now = random.expovariate(1 / mean)
            while now < self._until:
                yield Action(now, kind, self._how(kind))
                now += random.expovariate(1 / mean)

    def strikes(self, turns: Sequence[Action]) -> Iterator[Action]:
        """Let something happen just while a turn waits to be told: that is when words are lost and repeated."""
        random = self._random
        kinds = random.sample(_STRIKES, random.choice((0, 1, 1, 2)))
        for turn in turns if kinds else ():
            if random.random() < 0.4:
                spec = random.choice(self._policies)["spec"]
                delay = parse_duration(spec["unhealthyAfter" if turn.do == "ill" else "healthyAfter"])
                due = turn.at + delay.total_seconds()
                for one in self._strike(random.choice(kinds), random.uniform(turn.at, due), due):
                    if one.at < self._until:
                        yield one

    def _strike(self, kind: str, early: float, due: float) -> Iterator[Action]:
        """Do something in the midst of a delay, or when it is over."""
        random = self._random
        moment, seconds = due + random.uniform(-2.0, 10.0), round(random.uniform(5.0, 90.0), 1)
        if kind.startswith("storm"):
            rates = {
                one: random.choice((0.2, 0.5, 0.9)) for one in random.sample(_OF_WRITES, random.randint(1, 2))
            }
            yield Action(moment - 5.0, "storm", {"rates": rates, "seconds": seconds})
            moment += random.uniform(0.0, seconds)
        if kind == "invalid and kill":
            how = self._how("policy_invalid")
            yield Action(early, "policy_invalid", how | {"seconds": seconds + 60.0})
            moment = early + random.uniform(0.0, seconds)
        if kind == "suspend and relabel":
            yield Action(early, "policy_suspend", self._how("policy_suspend") | {"seconds": seconds + 300.0})
            kind = "relabel"
        if kind.endswith("kill"):
            yield Action(moment, "kill", self._how("kill"))
        elif kind == "driver_down":
            how = self._how("driver_down")
            yield Action(early, "driver_down", how | {"seconds": round(random.uniform(200.0, 900.0), 1)})
        elif not kind.startswith("storm"):
            yield Action(early if kind == "jump" else moment, kind, self._how(kind))

    def _how(self, kind: str) -> Json:
        random = self._random
        who = f"operator-{random.randrange(self._replicas)}"
        seconds = round(random.expovariate(1 / random.choice((10.0, 60.0, 600.0))), 1)
        claim = random.choice(self._claims)
        number = random.randrange(len(self._policies))
        policy = self._policies[number]["name"]
        driver = random.choice(self._drivers)["name"]
        match kind:
            case "kill":
                return {"who": who}
            case "freeze":
                return {"who": who, "seconds": seconds}
            case "jump":
                return {"who": who, "seconds": random.choice(_JUMPS)}
            case "driver_down" | "driver_hangs":
                return {"name": driver, "seconds": seconds}
            case "driver_fails":
                codes = ("INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED")
                return {"name": driver, "seconds": seconds, "code": random.choice(codes)}
            case "nil":
                return {"handle": claim["handle"], "seconds": seconds}
            case "policy_edit":
                return {"name": policy, "spec": _spec(random, number, self._drivers)}
            case "policy_suspend" | "policy_delete" | "policy_invalid":
                return {"name": policy, "seconds": seconds}
            case "relabel":
                return {"name": claim["name"], "team": random.choice("abc")}
            case "claim_delete":
                return {"name": claim["name"], "seconds": seconds}
            case "pod_move" | "record_delete":
                return {"name": claim["name"]}
            case "record_edit":
                return {"name": claim["name"], "how": random.choice(RECORD_EDITS)}
            case _:
                return {}


RECORD_EDITS = ("since", "health", "findings", "episode", "garbage", "label")
