"""The simulated world: an API server, a driver with volumes, claims and Pods, operators, and what is done to them."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

import grpc
import msgspec

from simulation.apiserver import ApiServer, Reply, path_of
from simulation.driver import Illness, SimDriver, SimVolume
from simulation.history import History
from simulation.loop import Process, SimLoop
from simulation.network import Network, Weather
from simulation.nodeplane import AGENT_USER, NodePlane
from simulation.objects import Json, Kind
from simulation.observe import Observer
from simulation.plan import NODES, Action, Plan
from simulation.processes import NAMESPACE, Host, Replica, current_process, operator_main
from simulation.regimes import Regime, regime_of
from simulation.rights import agent_may, operator_may
from simulation.telling import Spans, calm, undisturbed, united
from volumehealth.app.assembly import LeaderWork
from volumehealth.app.engine import GRACE
from volumehealth.settings import EndpointSetting

SHOP = "shop"
EVENT_TTL = 3600.0
INVALID = "(unclosed"
EDITED_SINCE = "2020-01-01T00:00:00Z"
"""Since when a user lets a finding be: its Event has another name then, and is written anew."""
SECRET = "hunter2-0451"
"""Planted in what drivers say; it must appear nowhere."""
PROBE_EVERY = 20.0
PROBES = "8 probes"
_UNDISTURBED = 150.0
_FAILURES = 3
"""Answers of /healthz in a row after which the kubelet starts a container anew (`deploy/operator.yaml`)."""
_LONGEST_INTERVAL = 60.0
"""Seconds: of a policy in any plan."""
_MUST_LIST = frozenset(
    ("persistentvolumeclaims", "persistentvolumes", "pods", "volumehealthpolicies", "volumehealths")
)
"""What a leader must have read before its view is complete."""


@dataclass(slots=True)
class ClaimLife:
    """One claim from its making to its deletion.

    Attributes:
        uid, name, handle, driver: as named.
        born, died: virtual seconds; None while it is there.
        regimes: how it was watched, with the moments since when.
        pods: uid, birth and death of each Pod that used it.
    """

    uid: str
    name: str
    handle: str
    driver: str
    born: float
    died: float | None = None
    regimes: list[tuple[float, Regime]] = field(default_factory=list)
    pods: list[tuple[str, str, float, float | None]] = field(default_factory=list)


class World:
    """Everything that a run consists of.

    Args:
        plan: what to do.
        loop: where time passes.

    Attributes:
        history: what happened.
        server: the API server.
        network: the ways to it.
        drivers: by name.
        operators: the Pods of the Deployment.
        lives: every claim that ever was.
        disturbed: when something kept the product from working, with how long it may take to be itself again.
        disturbed_but_by_policies: the same without changes of policies and selectors.
        disturbed_but_by_timers: the same without timers that stand still.
        edited: when a user edited a policy's status, by the policy's name.
        meddled: when what the product remembers of a claim was changed by a user, or may have gone with a policy, by the
            claim's name.
        jumped: whether a wall clock was set.
        led: when processes began to lead.
        working: by Pod the process that led there last, since when, and what it does.
        nodes: nodes, their agents, and what is mounted there.
        upgraded: when controllers lacked a health call, with how long it may take to hear that they have it again, by driver.
    """

    def __init__(self, plan: Plan, loop: SimLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.history = History(loop.time)
        random = self.random = Random(plan.seed ^ 0x5EED)
        self.clock = Host("api", loop)
        self.server = ApiServer(Random(random.getrandbits(64)), self.clock.now)
        self.network = Network(loop, Random(random.getrandbits(64)), self.server, self.history)
        self.drivers = {options["name"]: self._make_driver(options) for options in plan.drivers}
        self.hosts = {f"operator-{number}": Host(f"host-{number}", loop) for number in range(plan.replicas)}
        endpoints = tuple(EndpointSetting(driver.address) for driver in self.drivers.values())
        main = partial(operator_main, endpoints=endpoints, leads=self._leads)
        user = "system:serviceaccount:volumehealth-system:volumehealth-operator"
        self.operators = {
            name: Replica(name, user, host, main, self.network, self.history)
            for name, host in self.hosts.items()
        }
        self.lives: list[ClaimLife] = []
        self.disturbed: list[tuple[float, float]] = [(0.0, 60.0)]
        self.disturbed_but_by_policies = list(self.disturbed)
        self.disturbed_but_by_timers = list(self.disturbed)
        self._failures: dict[str, int] = {}
        self._unrest: tuple[int, Spans] = (0, [])
        self.meddled: dict[str, list[float]] = {}
        self.edited: dict[str, list[float]] = {}
        self.jumped = False
        self.led: list[float] = []
        self._allowed: set[tuple[str, ...]] = set()
        self._good_specs: dict[str, Json] = {}
        self._deleted: dict[str, Json] = {}
        self.upgraded: dict[str, list[tuple[float, float]]] = {}
        self.working: dict[str, tuple[Process, float, LeaderWork]] = {}
        self.nodes = NodePlane(self, NODES)
        if plan.agents:
            self.nodes.build()
        self.seen = Observer(self.history, loop)
        self.server.on_write = self.seen.written
        self.server.answered = self.seen.answered
        self.server.checked = self._admit
        self.server.allowed = self._allows

    def _make_driver(self, options: Json) -> SimDriver:
        name = options["name"]
        handles = [claim["handle"] for claim in self.plan.claims if claim["driver"] == name]
        volumes = {handle: SimVolume(handle) for handle in handles}
        random = Random(self.random.getrandbits(64))
        address = f"unix:///csi/{name.partition('.')[0]}.sock"
        driver = SimDriver(volumes=volumes, address=address, time=self.loop.time, random=random, **options)
        self.network.drivers[address] = driver
        return driver

    def _leads(self, replica: Replica, work: LeaderWork) -> None:
        self.history.note(replica.name, "leads")
        self.led.append(self.loop.time())
        process = current_process()
        self.working[replica.name] = (process, self.loop.time(), work)
        for wait in (0.0, *(self.random.uniform(0.0, most) for most in (0.05, 0.05, 5.0))):
            self.loop.in_world(wait, self._probe_view, replica.name, process, work)

    def _allows(self, user: str, verb: str, kind: Kind, sub: str, namespace: str, name: str) -> bool:
        """Hold the operator and the agents to their deployed rights; they never ask for more."""
        asked = (user, verb, kind.plural, sub, namespace, name)
        if asked in self._allowed:
            return True
        resource = f"{kind.plural}/{sub}" if sub else kind.plural
        who, _, node = user.partition("/")
        may = partial(agent_may, node) if who == AGENT_USER else operator_may
        if user == "admin" or may(verb, kind.group, resource, namespace, name):
            self._allowed.add(asked)
            return True
        self.history.violate("11 only deployed rights", f"{verb} {resource} {namespace}/{name}")
        return False

    def _admit(self, kind: Kind, value: Json, old: Json | None) -> None:
        """Remember the specs that can be used; an older CRD lets a pattern through that is none."""
        if kind.plural == "volumehealthpolicies" and INVALID not in str(value.get("spec")):
            self._good_specs[value["metadata"]["uid"]] = value["spec"]

    # ---- building ----

    def populate(self) -> None:
        """Make what is there at the start."""
        for name in ("default", NAMESPACE, SHOP):
            self.create("namespaces", {"metadata": {"name": name}})
        for node in NODES:
            self.add_node(node)
        self.nodes.populate()
        for number, claim in enumerate(self.plan.claims):
            self.add_claim(claim, NODES[number % len(NODES)])
        for policy in self.plan.policies:
            self.create(
                "volumehealthpolicies", {"metadata": {"name": policy["name"]}, "spec": policy["spec"]}
            )
        self.reckon()

    def add_node(self, node: str) -> None:
        """Make a node that is Ready, with all drivers registered."""
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.create("nodes", {"metadata": {"name": node}, "status": ready})
        drivers = [{"name": name, "nodeID": node} for name in self.drivers]
        self.create("csinodes", {"metadata": {"name": node}, "spec": {"drivers": drivers}})

    def add_claim(self, claim: Json, node: str) -> None:
        """Make a bound claim, its volume and a Pod that uses it."""
        name, volume = claim["name"], f"pv-{claim['handle']}"
        metadata = {"name": name, "namespace": SHOP, "labels": claim["labels"]}
        spec = {
            "storageClassName": "fast",
            "volumeName": volume,
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
        }
        made = self.create(
            "persistentvolumeclaims", {"metadata": metadata, "spec": spec, "status": {"phase": "Bound"}}
        )
        uid = made["metadata"]["uid"]
        source = {
            "csi": {"driver": claim["driver"], "volumeHandle": claim["handle"]},
            "claimRef": {"namespace": SHOP, "name": name, "uid": uid},
            "storageClassName": "fast",
        }
        if self.server.find("persistentvolumes", volume) is not None:
            self.delete("persistentvolumes", volume)
        self.create(
            "persistentvolumes", {"metadata": {"name": volume}, "spec": source, "status": {"phase": "Bound"}}
        )
        life = ClaimLife(uid, name, claim["handle"], claim["driver"], self.loop.time())
        self.lives.append(life)
        self.add_pod(life, node)

    def add_pod(self, life: ClaimLife, node: str) -> None:
        """Make a running Pod that uses a claim."""
        name = f"{life.name}-{len(life.pods)}"
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": life.name}}]
        made = self.create(
            "pods",
            {
                "metadata": {"name": name, "namespace": SHOP},
                "spec": {"nodeName": node, "volumes": volumes},
                "status": self.nodes.status(node),
            },
        )
        life.pods.append((made["metadata"]["uid"], name, self.loop.time(), None))
        self.nodes.mount(life, made["metadata"]["uid"], node)

    def remove_pods(self, life: ClaimLife) -> None:
        """Delete the Pods that use a claim."""
        for number, (uid, name, born, died) in enumerate(life.pods):
            if died is None:
                self.delete("pods", name, SHOP)
                self.nodes.unmount(uid)
                life.pods[number] = (uid, name, born, self.loop.time())

    def life_of(self, name: str) -> ClaimLife | None:
        """Return the claim of that name that is there."""
        return next((one for one in reversed(self.lives) if one.name == name and one.died is None), None)

    def volume(self, handle: str) -> SimVolume:
        """Return a volume."""
        return next(driver.volumes[handle] for driver in self.drivers.values() if handle in driver.volumes)

    def reckon(self) -> None:
        """Work out anew who watches which claim."""
        policies = self.server.objects("volumehealthpolicies")
        for life in self.lives:
            claim = self.server.find("persistentvolumeclaims", life.name, SHOP)
            if life.died is not None or claim is None:
                continue
            driver = self.drivers[life.driver]
            # A CSI 1.13 list names bad volumes only: that one is absent must be confirmed.
            by_two_lists = not (driver.legacy or driver.gets)
            regime = regime_of(claim, life.driver, policies, self._good_specs, by_two_lists=by_two_lists)
            if not life.regimes or life.regimes[-1][1] != regime:
                life.regimes.append((self.loop.time(), regime))

    # ---- acting on the API server ----

    def create(self, plural: str, value: Json) -> Json:
        """Create an object as an administrator does."""
        return self._call("POST", path_of(plural, value["metadata"].get("namespace", "")), value)

    def patch(self, plural: str, name: str, patch: Json, namespace: str = "", sub: str = "") -> Json:
        """Merge-patch an object."""
        return self._call(
            "PATCH", path_of(plural, namespace, name, sub), patch, "application/merge-patch+json"
        )

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object."""
        self._call("DELETE", path_of(plural, namespace, name), {})

    def _call(self, method: str, path: str, value: Json, form: str = "application/json") -> Json:
        headers = {"Content-Type": form}
        reply = self.server.answer("admin", method, path, {}, msgspec.json.encode(value), headers)
        assert isinstance(reply, Reply)
        assert reply.status < 300, (method, path, reply.body)
        answer: Json = msgspec.json.decode(reply.body)
        return answer

    # ---- what is done ----

    def act(self, action: Action) -> None:
        """Do something to the world."""
        self.history.note("world", str(action)[12:])
        self.history.reach(f"action: {action.do}")
        name = f"do_{action.do}"
        what: Callable[..., None] = getattr(self if hasattr(self, name) else self.nodes, name)
        what(**action.how)

    def disturb(
        self, seconds: float, recovery: float, *, by_policy: bool = False, by_timer: bool = False
    ) -> None:
        """Note that the product cannot work as it should from now on."""
        now = self.loop.time()
        self.disturbed.append((now, now + seconds + recovery))
        if not by_policy:
            self.disturbed_but_by_policies.append(self.disturbed[-1])
        if not by_timer:
            self.disturbed_but_by_timers.append(self.disturbed[-1])

    def unrest(self) -> Spans:
        """Return when the product could not work as it should, in order."""
        if self._unrest[0] != len(self.disturbed):
            self._unrest = len(self.disturbed), united(self.disturbed)
        return self._unrest[1]

    def do_ill(self, handle: str, status: str, reason: str, message: str) -> None:
        """A volume falls ill."""
        volume = self.volume(handle)
        volume.illness = Illness(status, reason, f"{message}; password={SECRET}")
        volume.truth.append((self.loop.time(), volume.illness))

    def do_well(self, handle: str) -> None:
        """A volume is healed."""
        volume = self.volume(handle)
        volume.illness = None
        volume.truth.append((self.loop.time(), None))

    def do_nil(self, handle: str, seconds: float) -> None:
        """The driver answers about a volume without a condition for a while."""
        volume = self.volume(handle)
        volume.nil = True
        self.disturb(seconds, 120.0)
        self.loop.in_world(seconds, self._no_nil, volume)

    def _no_nil(self, volume: SimVolume) -> None:
        volume.nil = False

    def do_storm(self, rates: Json, seconds: float, writes_of: str = "") -> None:
        """Faults on the way to the API server, of all requests or of writes to some paths alone."""
        refused = not rates.keys().isdisjoint(("error 401", "error 403", "error 422"))
        at_most = 800.0 if refused else 180.0  # what was refused for long waits for long
        self.disturb(seconds, min(at_most, 30.0 + 5.0 * seconds) if writes_of else at_most)
        weather = self.network.weather = Weather(rates, writes_of=writes_of)
        self.loop.in_world(seconds, self._calm, weather)

    def _calm(self, weather: Weather) -> None:
        if self.network.weather is weather:
            self.network.weather = Weather()
            self.history.note("world", "the storm is over")

    def do_kill(self, who: str) -> None:
        """SIGKILL."""
        self.disturb(0.0, 90.0)
        self.operators[who].kill()

    def do_freeze(self, who: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.disturb(seconds, 120.0)
        self.operators[who].freeze(seconds)

    def do_timer_stuck(self, name: str) -> None:
        """A policy's timer comes to a stand in the processes that lead now; only starting them anew helps."""
        policy = self.server.find("volumehealthpolicies", name)
        if policy is not None:
            self.disturb(0.0, 120.0, by_timer=True)
            for operator in self.operators.values():
                operator.stuck.add(policy["metadata"]["uid"])

    def do_jump(self, who: str, seconds: float) -> None:
        """The wall clock of a machine is set."""
        self.jumped = True
        self.hosts[who].offset += seconds

    def do_driver_down(self, name: str, seconds: float) -> None:
        """The driver's process is gone for a while."""
        self.disturb(seconds, 420.0)
        driver = self.drivers[name]
        driver.up = False
        driver.restart()
        self.loop.in_world(seconds, self._driver_up, driver)

    def do_driver_hangs(self, name: str, seconds: float) -> None:
        """The driver answers no call for a while."""
        self.disturb(seconds, 420.0)
        self.drivers[name].hangs = frozenset("*")
        self.loop.in_world(seconds, self._driver_up, self.drivers[name])

    def do_driver_fails(self, name: str, seconds: float, code: str) -> None:
        """The driver fails every call for a while."""
        self.disturb(seconds, 420.0)
        self.drivers[name].fails = {"*": grpc.StatusCode[code]}
        self.loop.in_world(seconds, self._driver_up, self.drivers[name])

    def do_controller_upgrade(self, name: str, seconds: float, lacks: list[str], *, anew: bool) -> None:
        """The driver's controller lacks health calls for a while; it may be started anew for that."""
        driver, now = self.drivers[name], self.loop.time()
        if driver.up and not (driver.hangs or driver.fails or driver.lacks):
            self.upgraded.setdefault(name, []).append((now, now + seconds + 420.0))
            driver.lacks = frozenset(lacks)
            driver.incarnation += anew
            self.loop.in_world(seconds, self._downgrade, driver, anew)

    @staticmethod
    def _downgrade(driver: SimDriver, anew: bool) -> None:
        driver.lacks = frozenset()
        driver.incarnation += anew

    def is_upgraded(self, driver: str, start: float, end: float) -> bool:
        """Tell whether a controller may have lacked a health call at some moment of a time."""
        return any(first < end and last > start for first, last in self.upgraded.get(driver, ()))

    def _driver_up(self, driver: SimDriver) -> None:
        driver.up = True
        driver.hangs = frozenset()
        driver.fails = {}

    def do_compact(self) -> None:
        """Etcd forgets what was."""
        self.server.compact()

    # ---- what administrators do ----

    def _spec_of(self, name: str) -> Json | None:
        policy = self.server.find("volumehealthpolicies", name)
        return policy["spec"] if policy is not None else None

    def do_policy_edit(self, name: str, spec: Json) -> None:
        """A policy gets another spec."""
        policy = self.server.find("volumehealthpolicies", name)
        if policy is None:
            self.create("volumehealthpolicies", {"metadata": {"name": name}, "spec": spec})
        else:
            gone = dict.fromkeys(policy["spec"])
            self.patch("volumehealthpolicies", name, {"spec": {**gone, **spec}})
            self._let_go()
        self._changed_policies()

    def do_policy_suspend(self, name: str, seconds: float) -> None:
        """A policy is suspended for a while."""
        if self._spec_of(name) is not None:
            self.patch("volumehealthpolicies", name, {"spec": {"suspend": True}})
            self._changed_policies()
            self.loop.in_world(seconds, self._resume, name)

    def _resume(self, name: str) -> None:
        if self._spec_of(name) is not None:
            self.patch("volumehealthpolicies", name, {"spec": {"suspend": None}})
            self._changed_policies()

    def do_policy_invalid(self, name: str, seconds: float) -> None:
        """A policy gets a rule whose pattern is no RE2, which an API server with an older CRD lets through."""
        if self._spec_of(name) is not None:
            rule = {"match": {"message": INVALID}, "ignore": True}
            self.patch("volumehealthpolicies", name, {"spec": {"rules": [rule]}})
            self._changed_policies()
            self.loop.in_world(seconds, self._valid, name)

    def _valid(self, name: str) -> None:
        if self._spec_of(name) is not None:
            self.patch("volumehealthpolicies", name, {"spec": {"rules": None}})
            self._changed_policies()

    def do_policy_delete(self, name: str, seconds: float) -> None:
        """A policy is deleted, and made again with the same name and spec later."""
        spec = self._spec_of(name)
        if spec is not None:
            self.delete("volumehealthpolicies", name)
            self._deleted[name] = spec
            self._changed_policies()
            self._let_go()
            self.loop.in_world(seconds, self._recreate, name, spec)

    def _let_go(self) -> None:
        """A policy gives claims up; if another spec cannot be used they may be that one's, and nobody may know."""
        if any(self._is_invalid(other["spec"]) for other in self.server.objects("volumehealthpolicies")):
            for claim in self.plan.claims:
                self.meddled.setdefault(claim["name"], []).append(self.loop.time())

    @staticmethod
    def _is_invalid(spec: Json) -> bool:
        return any(rule["match"].get("message") == INVALID for rule in spec.get("rules") or ())

    def _recreate(self, name: str, spec: Json) -> None:
        if self._spec_of(name) is None:
            self.create("volumehealthpolicies", {"metadata": {"name": name}, "spec": spec})
            self._changed_policies()

    def _changed_policies(self) -> None:
        self.disturb(0.0, 30.0, by_policy=True)
        self.reckon()

    # ---- what users do ----

    def do_relabel(self, name: str, team: str) -> None:
        """A claim gets another label, by which policies may select it."""
        if self.life_of(name) is not None:
            self.patch("persistentvolumeclaims", name, {"metadata": {"labels": {"team": team}}}, SHOP)
            self._changed_policies()

    def do_claim_delete(self, name: str, seconds: float) -> None:
        """A claim is deleted with its Pods, and made again with the same name later."""
        life = self.life_of(name)
        if life is None:
            return
        self.remove_pods(life)
        self.delete("persistentvolumeclaims", name, SHOP)
        life.died = self.loop.time()
        self.loop.in_world(self.random.uniform(0.1, 20.0), self._collect_garbage, life)
        self.disturb(0.0, 60.0)
        self.loop.in_world(seconds, self._new_claim, name)

    def _new_claim(self, name: str) -> None:
        claim = next(one for one in self.plan.claims if one["name"] == name)
        if self.life_of(name) is None:
            self.add_claim(claim, self.random.choice(NODES))
            self._changed_policies()

    def _collect_garbage(self, life: ClaimLife) -> None:
        """Delete what the claim owned, as the garbage collector does."""
        record = self.server.find("volumehealths", life.name, SHOP)
        owners = (record or {}).get("metadata", {}).get("ownerReferences") or []
        if any(owner["uid"] == life.uid for owner in owners):
            self.delete("volumehealths", life.name, SHOP)

    def do_pod_move(self, name: str) -> None:
        """A claim's Pod is made again on another node."""
        life = self.life_of(name)
        if life is not None:
            self.remove_pods(life)
            self.add_pod(life, self.random.choice(NODES))

    def do_record_delete(self, name: str) -> None:
        """A user deletes a record."""
        if self.server.find("volumehealths", name, SHOP) is not None:
            self.delete("volumehealths", name, SHOP)
            self.history.reach("a user deleted a record")
            self.meddled.setdefault(name, []).append(self.loop.time())

    def do_record_edit(self, name: str, how: str) -> None:
        """A user edits a record."""
        record = self.server.find("volumehealths", name, SHOP)
        if record is None:
            return
        findings = record["status"].get("findings") or []
        first = [{**findings[0], "since": EDITED_SINCE}] if findings else []
        patches: dict[str, Json] = {
            "since": {"status": {"findings": first}},
            "health": {"status": {"health": "Recovered"}},
            "findings": {"status": {"findings": None}},
            "episode": {"status": {"episodes": None}},
            "garbage": {"status": {"recovered": "9999-12-31T23:59:59Z"}},
            "label": {"metadata": {"labels": None}},
        }
        self.patch("volumehealths", name, patches[how], SHOP)
        self.history.reach("a user edited a record")
        self.meddled.setdefault(name, []).append(self.loop.time())

    def do_status_edit(self, name: str) -> None:
        """A user edits a policy's status."""
        if self._spec_of(name) is not None:
            edit = {"claims": {"unhealthy": 7}, "overriddenBy": [{"policy": "nobody", "claims": 7}]}
            self.patch("volumehealthpolicies", name, {"status": edit}, sub="status")
            self.history.reach("a user edited a status")
            self.edited.setdefault(name, []).append(self.loop.time())

    def do_events_delete(self) -> None:
        """A user deletes all Events of a namespace."""
        for event in list(self.server.objects("events")):
            if event["metadata"]["namespace"] == SHOP:
                self.delete("events", event["metadata"]["name"], SHOP)
                self.history.reach("a user deleted an Event")

    # ---- life ----

    async def run(self, *, settle: float) -> None:
        """Run the plan, then let everything settle."""
        self.populate()
        for operator in self.operators.values():
            operator.start()
        self.loop.in_world(30.0, self._expire_events)
        self.loop.in_world(PROBE_EVERY, self._probe)
        for action in self.plan.actions:
            await self.until(action.at)
            self.act(action)
        await self.until(self.plan.until)
        self._end_of_faults()
        await self.until(self.plan.until + settle)

    async def until(self, moment: float) -> None:
        """Wait for a moment."""
        wait = moment - self.loop.time()
        if wait > 0:
            await asyncio.sleep(wait)

    def _end_of_faults(self) -> None:
        self.history.note("world", "no faults from now on")
        self.network.weather = Weather()
        for driver in self.drivers.values():
            self._driver_up(driver)
            self._downgrade(driver, anew=False)
            for volume in driver.volumes.values():
                volume.nil = False
        for operator in self.operators.values():
            operator.thaw()
            if operator.stuck:
                operator.kill()
        self.nodes.end_of_faults()
        for name, spec in self._deleted.items():
            self._recreate(name, spec)
        for policy in self.plan.policies:
            self._resume(policy["name"])
            self._valid(policy["name"])
        for claim in self.plan.claims:
            self._new_claim(claim["name"])
        self.disturb(0.0, 800.0)

    def restart_all(self) -> None:
        """Put a fresh operator, and fresh agents, in the place of all others."""
        for operator in self.operators.values():
            operator.kill()
        self.nodes.restart_all()

    def _probe(self) -> None:
        """Look at /healthz and /readyz of whoever leads, as the kubelet does."""
        now = self.loop.time()
        self.loop.in_world(PROBE_EVERY, self._probe)
        free = undisturbed(now - _UNDISTURBED, now, self.unrest())
        for name, (process, since, work) in list(self.working.items()):
            if process is not self.operators[name].process:
                continue
            self._probe_advance(name, work)
            if now - since < _UNDISTURBED or not free:
                continue
            for path, (good, why) in (
                ("/healthz", work.engine.advancing()),
                ("/readyz", work.engine.ready()),
            ):
                self.history.reach(f"{path} of an undisturbed leader")
                if not good:
                    self.history.violate(PROBES, f"{path} of {name} fails: {why}")

    def _probe_view(self, name: str, process: Process, work: LeaderWork) -> None:
        """Whoever was not sent whole lists of claims, volumes, Pods, policies and records cannot be ready."""
        missing = ", ".join(sorted(_MUST_LIST - process.listed))
        if missing and not process.dead:
            self.history.reach("/readyz of a leader whose view is not complete")
            if work.engine.ready()[0]:
                self.history.violate(PROBES, f"/readyz of {name} says yes, it never read {missing}")

    def _probe_advance(self, name: str, work: LeaderWork) -> None:
        """A leader in which a policy's timer stands still is not alive; the kubelet starts it anew in the end."""
        operator, now = self.operators[name], self.loop.time()
        alive, _ = work.engine.advancing()
        self._failures[name] = 0 if alive else self._failures.get(name, 0) + 1
        there = {policy["metadata"]["uid"] for policy in self.server.objects("volumehealthpolicies")}
        for uid, since in operator.hung.items():
            self.disturb(PROBE_EVERY, 90.0, by_timer=True)
            free = calm(since, now, united(self.disturbed_but_by_timers))
            if uid in there and any(end - start > _LONGEST_INTERVAL + GRACE + 15.0 for start, end in free):
                self.history.reach("/healthz of a leader in which a timer stands still")
                if alive:
                    self.history.violate(PROBES, f"/healthz of {name} says yes, its timer stands still")
        if self._failures[name] >= _FAILURES:
            self.history.note("world", f"/healthz of {name} fails: the kubelet starts it anew")
            self._failures[name] = 0
            self.disturb(0.0, 90.0)
            operator.kill()

    def _expire_events(self) -> None:
        """Events live for an hour after they were written last."""
        now = self.loop.time()
        for key, written in list(self.seen.event_writes.items()):
            if now - written > EVENT_TTL and self.server.find("events", key[1], key[0]) is not None:
                self.history.reach("an Event expired")
                self.delete("events", key[1], key[0])
        self.loop.in_world(30.0, self._expire_events)


class LogLines(logging.Handler):
    """Writes what the product logs into the history."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        extra = {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        words = " ".join(f"{name}={value}" for name, value in extra.items())
        text = f"LOG {record.levelname.lower()} {record.getMessage()} {words}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            self._history.violate("6 nothing fails inside", text)
        self._history.note(current_process().name, text)


_PLAIN = frozenset((*logging.LogRecord("", 0, "", 0, "", None, None).__dict__, "message", "taskName"))
