"""The node plane of a simulated world: nodes with their agents, volumes mounted there, and what breaks."""

from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import grpc

from simulation.driver import SimDriver
from simulation.loop import Process
from simulation.machines import NODE_FAULTS, ONLY_ON, Failure, Machine, Place, inline, plugin_socket
from simulation.network import SimTransport, SimWire
from simulation.objects import Json
from simulation.processes import NAMESPACE, Host, Replica, SimCredentials
from simulation.telling import Spans, united
from volumehealth.agent.calls import HEALTH, STATS
from volumehealth.agent.looks import NodeSights
from volumehealth.agent.node import NodeAgent
from volumehealth.agent.reach import NodeReach
from volumehealth.agent.registry import REGISTRY
from volumehealth.agent.settings import NodeSettings
from volumehealth.kube.api import Api
from volumehealth.model.clock import rfc3339
from volumehealth.settings import Settings

if TYPE_CHECKING:
    from simulation.world import ClaimLife, World

AGENT_NAMESPACE = "volumehealth-agent"
AGENT_USER = "system:serviceaccount:volumehealth-agent:volumehealth-agent"
"""With the node's name behind a slash: an agent's token names its node."""
HEALTH_CALLS = frozenset((HEALTH, STATS))
COMEBACK = 240.0
"""Seconds until an agent that was away is believed again at the latest: started, everything looked at, a Lease renewed."""


async def agent_main(replica: Replica, process: Process, random: Random, *, machine: Machine) -> str:
    """Run a node agent as `agent.process.run_node` does."""
    network, host = replica.network, replica.host
    api = Api(
        SimCredentials(replica.user),
        clock=host,
        connect=lambda _: SimTransport(network, process, replica.user),
    )
    await api.open()
    sights = NodeSights(files=machine.files, kernel_log=machine.kernel_log, start=inline)
    agent = NodeAgent(
        api,
        NodeSettings(Settings(namespace=NAMESPACE), host.name, kubelet_dir=machine.kubelet),
        clock=host,
        random=random,
        reach=NodeReach(dial=partial(SimWire, network, process), sockets=machine.sockets, sights=sights),
        holder=f"{replica.name}-{replica.starts}",
    )
    await agent.run()
    return "all work ended"


@dataclass(eq=False)
class NodePlane:
    """Nodes and their agents; without agents only which Pod is where.

    Attributes:
        machines, agents: by name of the node.
        places: every mounting that ever was.
        removed: from when to when no agent was wanted on a node.
        failures: of nodes, in order.
        plugins: of drivers on nodes, by node and driver.
        ailing: when plugins did not answer as they should, with how long it may take to hear them again.
        refusing: when plugins said that they have no health call; what they had said may end without a word.
    """

    world: "World"
    names: tuple[str, ...]
    machines: dict[str, Machine] = field(default_factory=dict)
    agents: dict[str, Replica] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    removed: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    plugins: dict[tuple[str, str], SimDriver] = field(default_factory=dict)
    ailing: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    refusing: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    _away: dict[str, float] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether this world has agents."""
        return bool(self.agents)

    @property
    def rounds(self) -> int:
        """How often agents looked at their nodes."""
        return sum(machine.rounds for machine in self.machines.values())

    # ---- building ----

    def build(self) -> None:
        """Make nodes, plugins and agents; they do not run yet."""
        world, errors = self.world, dict[str, tuple[int, int]]()
        for name in self.names:
            host = Host(name, world.loop)
            machine = self.machines[name] = Machine(host, tuple(world.drivers), errors)
            main = partial(agent_main, machine=machine)
            user = f"{AGENT_USER}/{name}"
            self.agents[name] = Replica(f"agent-{name}", user, host, main, world.network, world.history)
            for driver in world.drivers.values():
                self._add_plugin(driver, machine)

    def _add_plugin(self, controller: SimDriver, machine: Machine) -> None:
        """Let a driver's node plugin run on a node."""
        name, network = controller.name, self.world.network
        address = f"unix://{machine.kubelet}/plugins/{name}/csi.sock"
        plugin = SimDriver(
            name=name,
            volumes=controller.volumes,
            address=address,
            time=self.world.loop.time,
            random=Random(self.world.random.getrandbits(64)),
            plane=machine.host.name,
            legacy=controller.legacy,
            node_health=controller.node_health,
        )
        self.plugins[machine.host.name, name] = plugin
        network.drivers[address] = plugin
        network.drivers[f"unix://{machine.kubelet}/{REGISTRY}/{plugin_socket(name)}"] = plugin

    def populate(self) -> None:
        """Make the agents' Pods, and start them."""
        if self.on:
            self.world.create("namespaces", {"metadata": {"name": AGENT_NAMESPACE}})
        for node in self.agents:
            self._back(node)

    def status(self, node: str) -> Json:
        """Return the status of a Pod that runs on a node."""
        running: Json = {}
        status: Json = {"phase": "Running", "containerStatuses": [{"state": {"running": running}}]}
        if self.on:
            running["startedAt"] = status["startTime"] = rfc3339(self.machines[node].host.now())
        return status

    def mount(self, life: "ClaimLife", pod: str, node: str) -> None:
        """A Pod's volume is mounted."""
        if self.on:
            kind = next(
                one.get("fs", "ext4") for one in self.world.plan.claims if one["handle"] == life.handle
            )
            now = self.world.loop.time()
            place = Place(node, life.uid, pod, life.handle, f"pv-{life.handle}", life.driver, now, kind=kind)
            self.machines[node].mount(place)
            self.places.append(place)

    def unmount(self, pod: str) -> None:
        """A Pod has gone, and its volume is unmounted."""
        for place in self.places:
            if place.pod == pod and place.until is None:
                self.machines[place.node].unmount(place)
                place.until = self.world.loop.time()

    # ---- what is true ----

    def places_of(self, claim: str) -> list[Place]:
        """Return where a claim's volume was mounted, by its uid."""
        return [place for place in self.places if place.claim == claim]

    def fault_of(self, claim: str) -> str:
        """Return what a node sees of a claim's volume now; empty if nothing is wrong."""
        return next((one.fault for one in self.places_of(claim) if one.until is None and one.fault), "")

    # ---- what is done ----

    def do_node_fault(self, name: str, kind: str) -> None:
        """Something breaks where a claim's volume is mounted; what needs a new mounting breaks nothing more."""
        for place in self._mounted(name):
            shown = ONLY_ON.get(kind, place.kind) == place.kind
            if shown and not (place.fault and NODE_FAULTS[place.fault].latched):
                self.machines[place.node].break_(place, kind)
                place.truth.append((self.world.loop.time(), kind))

    def do_node_heal(self, name: str) -> None:
        """It is mended; what lasts until the volume is mounted anew is mended by a new Pod."""
        for place in self._mounted(name):
            if place.fault and NODE_FAULTS[place.fault].latched:
                self.world.do_pod_move(name)
            elif place.fault:
                self.machines[place.node].mend(place)
                place.truth.append((self.world.loop.time(), ""))

    def _mounted(self, name: str) -> list[Place]:
        life = self.world.life_of(name)
        return [one for one in self.places_of(life.uid) if one.until is None] if life is not None else []

    def do_agent_kill(self, node: str) -> None:
        """SIGKILL."""
        self.world.disturb(0.0, COMEBACK)
        self.agents[node].kill()

    def do_agent_freeze(self, node: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.world.disturb(seconds, COMEBACK)
        self.agents[node].freeze(seconds)

    def do_agent_away(self, node: str, seconds: float) -> None:
        """The agent cannot be started for a while."""
        self.world.disturb(seconds, COMEBACK)
        self.agents[node].stop()
        now = self.world.loop.time()
        self._away[node] = max(now + seconds, self._away.get(node, 0.0))
        self.world.loop.in_world(seconds, self._back, node)

    def do_agent_removed(self, node: str, seconds: float) -> None:
        """The DaemonSet does not want an agent on a node for a while."""
        self.do_agent_away(node, seconds)
        if self.world.server.find("pods", self.agents[node].name, AGENT_NAMESPACE) is not None:
            self.world.delete("pods", self.agents[node].name, AGENT_NAMESPACE)
            now = self.world.loop.time()
            self.removed.setdefault(node, []).append((now, now + seconds + COMEBACK))

    def _back(self, node: str) -> None:
        """The agent runs, in a Pod of the DaemonSet, unless something else keeps it away."""
        agent = self.agents[node]
        if self.world.loop.time() < self._away.get(node, 0.0):
            return
        if self.world.server.find("pods", agent.name, AGENT_NAMESPACE) is None:
            metadata = {
                "name": agent.name,
                "namespace": AGENT_NAMESPACE,
                "labels": {"app.kubernetes.io/name": "volumehealth-agent"},
            }
            self.world.create(
                "pods",
                {"metadata": metadata, "spec": {"nodeName": node}, "status": {"phase": "Running"}},
            )
        agent.wanted = True
        agent.start()

    # ---- plugins that fail ----

    def do_plugin_down(self, node: str, name: str, seconds: float) -> None:
        """A driver's plugin on a node is gone for a while."""
        if (plugin := self._ails(node, name, seconds)) is not None:
            plugin.up = False
            plugin.restart()

    def do_plugin_hangs(self, node: str, name: str, seconds: float) -> None:
        """A driver's plugin on a node does not answer for a while what is asked about volumes."""
        if (plugin := self._ails(node, name, seconds)) is not None:
            plugin.hangs = HEALTH_CALLS

    def do_plugin_fails(self, node: str, name: str, seconds: float, code: str) -> None:
        """A driver's plugin on a node fails for a while what is asked about volumes.

        One that has answered UNIMPLEMENTED is started anew at the end: a call that it promises and has not is made again
        only then.
        """
        if (plugin := self._ails(node, name, seconds)) is not None:
            plugin.fails = dict.fromkeys(HEALTH_CALLS, grpc.StatusCode[code])
            if code == "UNIMPLEMENTED":
                self.refusing.setdefault((node, name), []).append(self.ailing[node, name][-1])

    def do_plugin_upgrade(self, node: str, name: str, seconds: float, *, anew: bool) -> None:
        """A driver's plugin on a node has no health call for a while; it may be started anew for that."""
        if (plugin := self._ails(node, name, seconds)) is not None:
            self.refusing.setdefault((node, name), []).append(self.ailing[node, name][-1])
            plugin.lacks = frozenset({"node_health"})
            plugin.incarnation += anew

    def _ails(self, node: str, name: str, seconds: float) -> SimDriver | None:
        """Note that a plugin does not answer as it should for a while; None if there is none, or it does not already."""
        now, plugin = self.world.loop.time(), self.plugins.get((node, name))
        if plugin is None or not plugin.up or plugin.hangs or plugin.fails or plugin.lacks:
            return None
        # A volume whose calls get stuck is asked ever more rarely, up to every 10 minutes; what a plugin can do is read
        # every 5 minutes.
        recovery = COMEBACK + min(600.0, 180.0 + 2.0 * seconds)
        self.ailing.setdefault((node, name), []).append((now, now + seconds + recovery))
        self.world.loop.in_world(seconds, self._plugin_well, plugin)
        return plugin

    @staticmethod
    def _plugin_well(plugin: SimDriver) -> None:
        plugin.incarnation += grpc.StatusCode.UNIMPLEMENTED in plugin.fails.values()
        plugin.up, plugin.hangs, plugin.fails, plugin.lacks = True, frozenset(), {}, frozenset()

    def unrest(self, node: str, driver: str) -> Spans:
        """Return when what a driver says on a node could not be heard as it should, in order."""
        return united([*self.world.unrest(), *self.ailing.get((node, driver), ())])

    # ---- nodes that fail ----

    def do_node_not_ready(self, node: str, seconds: float, ready: str, *, with_agent: bool) -> None:
        """The kubelet of a node is not heard for a while; its agent may be gone with it, or go on."""
        if self._fails(node, seconds, gone=False):
            self._set_ready(node, ready)
            if with_agent:
                self.do_agent_away(node, seconds)

    def do_node_deleted(self, node: str, seconds: float) -> None:
        """A node is deleted with its agent while Pods are bound to it; it comes back later."""
        if self._fails(node, seconds, gone=True):
            self.do_agent_removed(node, seconds)
            self.world.delete("nodes", node)
            self.world.delete("csinodes", node)
            if self.world.server.find("volumehealthreports", node) is not None:
                self.world.delete("volumehealthreports", node)  # the garbage collector does; the node owns it

    def failure_of(self, node: str, at: float) -> Failure | None:
        """Return the failure of a node at a moment."""
        return next((one for one in self.failures.get(node, ()) if one.start <= at < one.end), None)

    def _fails(self, node: str, seconds: float, *, gone: bool) -> bool:
        """Note that a node fails for a while; False if it does already."""
        now = self.world.loop.time()
        if self.failure_of(node, now) is not None:
            return False
        failure = Failure(now, now + seconds, gone)
        self.failures.setdefault(node, []).append(failure)
        self.world.loop.in_world(seconds, self._node_back, node, failure)
        return True

    def _node_back(self, node: str, failure: Failure) -> None:
        """A node is Ready, unless that was so already."""
        if self.failures[node][-1] == failure:
            if self.world.server.find("nodes", node) is None:
                self.world.add_node(node)
            self._set_ready(node, "True")

    def _set_ready(self, node: str, ready: str) -> None:
        since = rfc3339(self.world.clock.now())
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": since, "reason": "Simulated"}
        self.world.patch("nodes", node, {"status": {"conditions": [condition]}}, sub="status")

    def do_report_delete(self, node: str) -> None:
        """A user deletes a node's report; its agent looks after it every five minutes."""
        if self.world.server.find("volumehealthreports", node) is not None:
            self.world.disturb(0.0, 420.0)
            self.world.delete("volumehealthreports", node)
            self.world.history.reach("a user deleted a report")

    def do_log_unreadable(self, node: str, seconds: float) -> None:
        """The agent may not read the kernel log for a while."""
        self.world.disturb(seconds, 60.0)
        self.machines[node].readable = False
        self.world.loop.in_world(seconds, self._readable, node)

    def _readable(self, node: str) -> None:
        self.machines[node].readable = True

    def end_of_faults(self) -> None:
        """All nodes are Ready, and all agents run from now on."""
        now = self.world.loop.time()
        for node, failures in self.failures.items():
            if failures[-1].end > now:
                failures[-1] = replace(failures[-1], end=now)
                self._node_back(node, failures[-1])
        for plugin in self.plugins.values():
            self._plugin_well(plugin)
        for node, agent in self.agents.items():
            agent.thaw()
            self._readable(node)
            self._away.pop(node, None)
            self._back(node)

    def restart_all(self) -> None:
        """Put fresh agents in the place of all others."""
        for agent in self.agents.values():
            agent.kill()
