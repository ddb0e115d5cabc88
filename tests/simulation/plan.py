"""What a seed stands for: a world, and what is done to it. A plan can be written down, and made smaller."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from simulation.network import FAULTS

Json = dict[str, Any]
DRIVER = "block.csi.example.com"
ILLNESSES = (
    ("Degraded", "ReplicaLost", "one of two replicas is gone"),
    ("Inaccessible", "ArrayUnreachable", "the array does not answer"),
    ("DataLoss", "Corrupted", "blocks were lost"),
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
        driver: options of the driver.
        spec: of the policy.
        claims: how many.
        actions: in order of time.
    """

    seed: int
    until: float
    drag: float
    replicas: int
    driver: Json
    spec: Json
    claims: int
    actions: tuple[Action, ...]

    def dump(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def load(text: str) -> "Plan":
        """Read what `dump` wrote."""
        raw = json.loads(text)
        actions = tuple(Action(**one) for one in raw.pop("actions"))
        return Plan(**raw, actions=actions)


def make_plan(seed: int, minutes: float = 120.0) -> Plan:
    """Make the plan of a seed.

    Args:
        seed: any number.
        minutes: of virtual time in which faults happen.
    """
    random = Random(seed)
    until = 60.0 * minutes
    replicas = random.choice((1, 1, 2))
    claims = 3
    actions = [
        *_illnesses(random, until, claims),
        *_storms(random, until),
        *_mishaps(random, until, replicas),
    ]
    return Plan(
        seed=seed,
        until=until,
        drag=random.choice((0.0, 0.0, 1e-5, 1e-3)),
        replicas=replicas,
        driver={
            "legacy": random.random() < 0.5,
            **random.choice(
                (
                    {"lists": True, "gets": True},
                    {"lists": True, "gets": False},
                    {"lists": False, "gets": True},
                )
            ),
            "pages": random.choice((0, 0, 1, 2)),
        },
        spec={
            "interval": random.choice(("5s", "10s", "15s", "30s", "1m")),
            "timeout": random.choice(("2s", "5s", "15s")),
            "unhealthyAfter": random.choice(("10s", "30s", "1m", "2m")),
            "healthyAfter": random.choice(("10s", "1m", "2m", "5m")),
        },
        claims=claims,
        actions=tuple(sorted(actions, key=lambda one: one.at)),
    )


def _illnesses(random: Random, until: float, claims: int) -> Sequence[Action]:
    """Let each volume fall ill and be healed again and again, with one kind of illness."""
    found = []
    for number in range(claims):
        status, reason, message = random.choice(ILLNESSES)
        scale = random.choice((20.0, 60.0, 300.0, 900.0))
        now = 60.0 + random.expovariate(1 / scale)
        while now < until:
            handle = f"vol-{number}"
            found.append(
                Action(now, "ill", {"handle": handle, "status": status, "reason": reason, "message": message})
            )
            now += random.expovariate(1 / scale)
            if now < until and random.random() < 0.95:
                found.append(Action(now, "well", {"handle": handle}))
            now += random.expovariate(1 / scale)
    return found


def _storms(random: Random, until: float) -> Sequence[Action]:
    """Let some faults happen at some rates for some time, then none for some time."""
    found = []
    severity = random.choice((0.0, 0.3, 1.0))
    now = random.expovariate(1 / 900.0)
    while severity and now < until:
        seconds = random.expovariate(1 / 300.0)
        kinds = random.sample(FAULTS, random.randint(1, 6))
        rates = {kind: round(severity * random.choice((0.02, 0.1, 0.3, 0.9)), 3) for kind in kinds}
        found.append(Action(now, "storm", {"rates": rates, "seconds": round(min(seconds, until - now), 1)}))
        now += seconds + random.expovariate(1 / 900.0)
    return found


def _mishaps(random: Random, until: float, replicas: int) -> Sequence[Action]:
    """Kill, freeze, set clocks, and stop drivers."""
    found = []
    kinds = random.sample(
        ("kill", "freeze", "jump", "driver_down", "driver_hangs", "driver_fails", "compact"),
        random.randint(0, 5),
    )
    for kind in kinds:
        mean = random.choice((120.0, 600.0, 1800.0))
        now = random.expovariate(1 / mean)
        while now < until:
            found.append(Action(now, kind, _how(random, kind, replicas)))
            now += random.expovariate(1 / mean)
    return found


def _how(random: Random, kind: str, replicas: int) -> Json:
    who = f"operator-{random.randrange(replicas)}"
    seconds = round(random.expovariate(1 / random.choice((10.0, 60.0, 600.0))), 1)
    match kind:
        case "kill":
            return {"who": who}
        case "freeze":
            return {"who": who, "seconds": seconds}
        case "jump":
            return {"who": who, "seconds": random.choice((-7200, -3600, -61, -5, 5, 61, 3600, 86400))}
        case "driver_down" | "driver_hangs":
            return {"seconds": seconds}
        case "driver_fails":
            return {
                "seconds": seconds,
                "code": random.choice(("INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED")),
            }
        case _:
            return {}
