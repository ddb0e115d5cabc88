"""What can be heard of each driver of a cluster, what would make it tell more, what blocks that, and what to type next.

Read-only, before and after the installation; what may not be read is said.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from volumehealth.errors import Forbidden
from volumehealth.kube.api import Api
from volumehealth.model.ids import object_name
from volumehealth.model.known_drivers import Calls, KnownDriver, known_driver
from volumehealth.model.text import count
from volumehealth.model.vocabulary import API_VERSION, DRIVERS, POLICIES
from volumehealth.oneshot.installed import Release, refused_by_selinux
from volumehealth.oneshot.reading import Object, if_allowed, read_answer, read_items
from volumehealth.oneshot.workloads import (
    ELSEWHERE,
    Controller,
    blocks_of,
    find_controllers,
    registered_where,
)

OLDEST = (1, 30)
_APPS, _STORAGE, _ADMISSION = "/apis/apps/v1", "/apis/storage.k8s.io/v1", "/apis/admissionregistration.k8s.io"
_LISTS = {
    "csidrivers": f"{_STORAGE}/csidrivers",
    "csinodes": f"{_STORAGE}/csinodes",
    "storageclasses": f"{_STORAGE}/storageclasses",
    "volumes": "/api/v1/persistentvolumes",
    "deployments": f"{_APPS}/deployments",
    "statefulsets": f"{_APPS}/statefulsets",
    "daemonsets": f"{_APPS}/daemonsets",
    "namespaces": "/api/v1/namespaces",
    "nodes": "/api/v1/nodes",
    "quotas": "/api/v1/resourcequotas",
    "limits": "/api/v1/limitranges",
    "vhd": f"/apis/{API_VERSION}/{DRIVERS}",
    "vhp": f"/apis/{API_VERSION}/{POLICIES}",
}
_NAME = "app.kubernetes.io/name"
_ANSWERS = "Answering"


@dataclass(frozen=True, slots=True)
class Point:
    """One thing about the cluster.

    Attributes:
        well: whether nothing has to be done about it.
        text: a sentence.
    """

    well: bool
    text: str


@dataclass(frozen=True, slots=True)
class DriverPlan:
    """What is to be said of one driver.

    Attributes:
        name, title: of the driver; the title is empty if it is not known.
        claims: volumes of it that are bound.
        nodes: on how many nodes its plugin is registered.
        today: what can be heard of it now.
        more: what would make it tell more; empty if nothing would, as far as is known.
        blocks: what is in the way of that.
        steps: numbers of the commands that help it.
    """

    name: str
    title: str
    claims: int
    nodes: int
    today: str
    more: str = ""
    blocks: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found.

    Attributes:
        points: about the cluster.
        drivers: by name.
        nodes: how many nodes have a CSI driver.
        steps: commands to type, in order.
        not_known: what could not be read.
    """

    points: tuple[Point, ...]
    drivers: tuple[DriverPlan, ...]
    nodes: int
    steps: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 if nothing has to be done; 1 if something has; 3 if nothing, as far as it may be read."""
        blocked = any(driver.blocks for driver in self.drivers)
        if blocked or self.steps or not all(point.well for point in self.points):
            return 1
        return 3 if self.not_known else 0


@dataclass(slots=True)
class ClusterFacts:
    """What was read.

    Attributes:
        version: of the API server: `v1.37.2`.
        lists: the objects by what they are; None where they may not be read, or the API is not there.
        admission: versions of the API in which MutatingAdmissionPolicies are served.
        openshift: whether it serves OpenShift's security context constraints.
        refused: sentences on what may not be read.
    """

    version: str = ""
    lists: dict[str, list[Object] | None] = field(default_factory=dict)
    admission: tuple[str, ...] = ()
    openshift: bool = False
    refused: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> list[Object]:
        return self.lists.get(name) or []

    @property
    def operators(self) -> list[Object]:
        """The operator's Deployments."""
        return _of(self["deployments"], "volumehealth-operator")

    @property
    def agents(self) -> list[Object]:
        """The node agents' DaemonSets."""
        return _of(self["daemonsets"], "volumehealth-agent")

    @property
    def nothing_runs(self) -> bool:
        """Whether there is neither an operator nor an agent, for certain."""
        unseen = self.lists.get("deployments") is None or self.lists.get("daemonsets") is None
        return not (unseen or self.operators or self.agents)

    @property
    def release(self) -> Release:
        """How it was installed."""
        return Release.of([*self.operators, *self.agents])


async def read_cluster(api: Api) -> ClusterFacts:
    """Read everything that preflight looks at.

    Raises:
        ApiError: if the API server cannot be reached, or nothing at all may be read.
    """
    facts = ClusterFacts()
    facts.version = str((await read_answer(api, "/version")).get("gitVersion", ""))
    for name, path in _LISTS.items():
        facts.lists[name] = await if_allowed(read_items(api, path), facts.refused)
    if facts.lists["csinodes"] is None and facts.lists["volumes"] is None:
        raise Forbidden(
            "your rights show neither CSINodes nor PersistentVolumes: preflight needs list on both; a cluster "
            "administrator has it"
        )
    versions = ("v1", "v1beta1", "v1alpha1")
    facts.admission = tuple([version for version in versions if await _serves_admission(api, version)])
    groups = (await read_answer(api, "/apis")).get("groups") or ()
    facts.openshift = any(group.get("name") == "security.openshift.io" for group in groups)
    return facts


def preflight(facts: ClusterFacts) -> Preflight:
    """Say what is to be done, of what was read."""
    steps: list[str] = []
    points = list(_points(facts, steps))
    names = _names(facts)
    homes = registered_where(facts["daemonsets"])
    workloads = [
        *(("Deployment", one) for one in facts["deployments"]),
        *(("StatefulSet", one) for one in facts["statefulsets"]),
    ]
    controllers = find_controllers(workloads, names, homes)
    drafts = [_draft(name, facts, controllers.get(name)) for name in sorted(names)]
    wanting = [(plan.name, controller) for plan, controller, wants in drafts if wants and controller]
    kept = [
        (plan.name, controller)
        for plan, controller, wants in drafts
        if not wants and controller and (controller.agent or _heard_by_agent(plan.name, facts))
    ]
    before = len(steps)
    if wanting:
        steps += facts.release.connect(wanting, kept, inject="v1" in facts.admission)
    each = {
        name: number if len(steps) > before + 1 else before + 1
        for number, (name, _) in enumerate(wanting, start=before + 1)
    }
    plans = []
    for plan, controller, wants in drafts:
        helps: list[int] = [each[plan.name]] if wants and controller else []
        if wants and controller and "v1" in facts.admission:
            steps.append(f"kubectl rollout restart {controller.target}")
            helps.append(len(steps))
        plans.append(replace(plan, steps=tuple(helps)))
    return Preflight(tuple(points), tuple(plans), len(facts["csinodes"]), tuple(steps), tuple(facts.refused))


# -- the cluster ------------------------------------------------------------------------------------------------


def _points(facts: ClusterFacts, steps: list[str]) -> Iterable[Point]:
    old = _version(facts.version) < OLDEST
    oldest = ".".join(map(str, OLDEST))
    yield Point(
        not old, f"Kubernetes {facts.version}{f': {oldest} is the oldest that is tested' if old else ''}"
    )
    served = facts.lists.get("vhp") is not None or any("volumehealthpolicies" in one for one in facts.refused)
    operators = facts.operators
    if not served and not operators:
        yield Point(False, "volumehealth is not installed")
        steps.append(facts.release.install(openshift=facts.openshift, nodes=facts["nodes"]))
        steps.append("kubectl apply -f examples/smallest.yaml")
        yield from _agent_namespace(facts)
        return
    for one in operators:
        ready, wanted = (one.get("status") or {}).get("readyReplicas", 0), one["spec"].get("replicas", 1)
        where = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        yield Point(ready > 0, f"operator {where}: {ready} of {count(wanted, 'Pod')} ready")
    if not operators:
        yield Point(False, "the API is served, and no operator is installed that you may see")
        if facts.nothing_runs:
            steps.append(facts.release.install(openshift=facts.openshift, nodes=facts["nodes"]))
    if facts.lists.get("vhp") is not None:
        policies = len(facts["vhp"])
        words = {0: "no policy: nothing is checked", 1: "one policy"}
        yield Point(policies > 0, words.get(policies, f"{policies} policies"))
        if not policies:
            steps.append("kubectl apply -f examples/smallest.yaml")
    yield from _agents(facts, steps)


def _agents(facts: ClusterFacts, steps: list[str]) -> Iterable[Point]:
    agents = facts.agents
    if not agents and facts.lists.get("daemonsets") is not None:
        yield Point(False, "no node agent: mounts, devices, filesystems and node plugins are not looked at")
        if not facts.nothing_runs:  # else they come with the operator
            steps.append(facts.release.add_agents())
    for one in agents:
        status = one.get("status") or {}
        ready, wanted = status.get("numberReady", 0), status.get("desiredNumberScheduled", 0)
        where = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        well = ready >= wanted > 0  # one that wants to run nowhere looks at nothing
        yield Point(well, f"node agent {where}: ready on {ready} of {count(wanted, 'node')}")
        if not well:
            steps.append(
                f"kubectl describe daemonset {one['metadata']['name']} -n {one['metadata']['namespace']}"
            )
        for text, kind in refused_by_selinux(facts["nodes"], one):
            yield Point(False, text)
            steps.append(facts.release.relabel(kind, one))
    yield from _agent_namespace(facts)


def _agent_namespace(facts: ClusterFacts) -> Iterable[Point]:
    for one in facts["namespaces"]:
        level = (one["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce", "privileged")
        if one["metadata"]["name"] == "volumehealth-agent" and level != "privileged":
            yield Point(
                False,
                f"namespace volumehealth-agent enforces the Pod Security Standard {level}, which refuses the node agent: "
                "kubectl label namespace volumehealth-agent pod-security.kubernetes.io/enforce=privileged --overwrite",
            )


def _of(workloads: Iterable[Object], name: str) -> list[Object]:
    return [one for one in workloads if (one["metadata"].get("labels") or {}).get(_NAME) == name]


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


async def _serves_admission(api: Api, version: str) -> bool:
    served = await if_allowed(read_answer(api, f"{_ADMISSION}/{version}")) or {}
    return any(one.get("name") == "mutatingadmissionpolicies" for one in served.get("resources") or ())


# -- drivers ----------------------------------------------------------------------------------------------------


def _names(facts: ClusterFacts) -> set[str]:
    return {
        *(one["metadata"]["name"] for one in facts["csidrivers"]),
        *(
            driver["name"]
            for one in facts["csinodes"]
            for driver in (one.get("spec") or {}).get("drivers") or ()
        ),
        *(driver for one in facts["volumes"] if (driver := _driver_of(one))),
    }


def _driver_of(volume: Object) -> str:
    return str(((volume.get("spec") or {}).get("csi") or {}).get("driver", ""))


def _draft(
    name: str, facts: ClusterFacts, controller: Controller | None
) -> tuple[DriverPlan, Controller | None, bool]:
    """Return a driver's plan, where its controller runs, and whether an agent beside it would help."""
    known = known_driver(name)
    status = _seen(name, facts)
    connected = (status.get("plugins") or {}).get("controller") in ("Endpoint", "Agent")
    here = controller is not None and controller.agent
    able = known is None or known.controller is not Calls.NONE
    # Of a driver that is not known the node agents say whether it has a health call at all.
    wants = able and not connected and not here and status.get("state") != "Unsupported"
    claims = sum(
        _driver_of(one) == name and (one.get("status") or {}).get("phase") == "Bound"
        for one in facts["volumes"]
    )
    nodes = sum(
        any(driver["name"] == name for driver in (one.get("spec") or {}).get("drivers") or ())
        for one in facts["csinodes"]
    )
    blocks = list(_blocks(known, controller, facts, wants=wants, connected=connected))
    plan = DriverPlan(
        name,
        known.title if known is not None else "",
        claims,
        nodes,
        _today(status, known),
        _more(known, status, wants=wants, here=here),
        tuple(blocks),
    )
    return plan, controller, wants


def _seen(name: str, facts: ClusterFacts) -> Object:
    """Return what the operator wrote of a driver last; empty if it wrote nothing."""
    there = (one for one in facts["vhd"] if one["metadata"]["name"] == object_name(name))
    return next((one.get("status") or {} for one in there), {})


def _heard_by_agent(name: str, facts: ClusterFacts) -> bool:
    return (_seen(name, facts).get("plugins") or {}).get("controller") == "Agent"


def _today(status: Object, known: KnownDriver | None) -> str:
    if status:
        calls = ", ".join(status.get("methods") or ()) or "no health call"
        basis = f"; claims are healthy on the word of: {status['basis']}" if status.get("basis") else ""
        message = f"; {status['message']}" if status.get("message") else ""
        return f"{status.get('state', 'not checked')}, {calls}{basis}{message}"
    apart = "" if known is None or not known.elsewhere else f"; elsewhere: {known.elsewhere}"
    return f"nothing: no operator has looked at it{apart}"


def _more(known: KnownDriver | None, status: Object, *, wants: bool, here: bool) -> str:
    if here and status.get("state") != _ANSWERS:
        return "the controller agent is beside it; wait for its report, or look at the container volumehealth there"
    if known is not None and known.advice and (wants or known.node is not Calls.NONE):
        return known.advice if wants or status.get("state") != _ANSWERS else ""
    if wants and known is None:
        return "not a known driver: the controller agent finds out whether it has a health call"
    if wants:
        return "it is not known whether it has a health call: the controller agent finds out"
    return str(status.get("hint", "")) or (
        "it has no health call; the node agents look at mounts, devices, filesystems and space"
        if not status
        else ""
    )


def _blocks(
    known: KnownDriver | None,
    controller: Controller | None,
    facts: ClusterFacts,
    *,
    wants: bool,
    connected: bool,
) -> Iterable[str]:
    if known is not None and known.switch and controller is not None:
        value = controller.environment.get(known.switch)
        if value != ELSEWHERE and (value or "").lower() not in ("true", "1", "yes"):
            yield f"{known.switch} is {value or 'not set'} in {controller.place}: its health calls are turned off"
    if not wants or connected:
        return
    if controller is None:
        yield "its controller was not found: no Deployment or StatefulSet with CSI sidecars names this driver"
        return
    space = next(
        (one for one in facts["namespaces"] if one["metadata"]["name"] == controller.namespace), None
    )
    yield from blocks_of(
        controller, space, _within(facts["quotas"], controller), _within(facts["limits"], controller)
    )
    if controller.manager and "v1" not in facts.admission:
        served = f" (served: {', '.join(facts.admission)})" if facts.admission else ""
        yield (
            f"{controller.place} is kept by {controller.manager}, which takes a patch back, and this API server does not "
            f"serve MutatingAdmissionPolicy as v1{served}: add the container where {controller.manager} has it from"
        )


def _within(items: Iterable[Object], controller: Controller) -> list[Object]:
    return [one for one in items if one["metadata"]["namespace"] == controller.namespace]
