"""Where the controller of a CSI driver runs, and what keeps an agent from standing beside it; pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any

from volumehealth.oneshot.reading import Object

CONTAINER = "volumehealth"
"""Name of the agent's container beside a controller."""
ELSEWHERE = "(from another object)"
NEEDS = {
    "requests.cpu": "10m",
    "requests.memory": "64Mi",
    "limits.cpu": "500m",
    "limits.memory": "160Mi",
}
"""What the sidecar asks for (docs/controller-agent.md)."""
_SIDECAR = re.compile(r"csi[-/](?:external-)?(?:provisioner|attacher|resizer|snapshotter|health-monitor)")
"""In the image (`csi-provisioner`, EKS: `kubernetes-csi/external-provisioner`), or in the container's name where the image is a
digest (OpenShift)."""
_SOCKET = re.compile(r"--csi-address[= ](?P<path>\$\((?P<variable>\w+)\)|[^\s'\"$\\]+)")
_REGISTRATION = re.compile(r"--kubelet-registration-path[= ]\S*?/([^/\s]+)/[^/\s]+\.sock")
_UNITS: Mapping[str, int | Decimal] = {
    "": 1, "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("0.001"),
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")
_ALIASES = {"cpu": "requests.cpu", "memory": "requests.memory"}


@dataclass(frozen=True, slots=True)
class Controller:
    """A workload that runs a driver's controller.

    Attributes:
        kind, namespace, name: which.
        account: its ServiceAccount.
        socket_volume: the Pod's volume that holds the socket; empty if it is not an emptyDir that sidecars share.
        socket_file: the socket's name in it, as the sidecars are told; empty if they are not.
        agent: whether our agent is beside it.
        manager: who would take a patch back; empty if nobody is known to.
        environment: names and values of its containers' variables; `ELSEWHERE` for one whose value comes from another object.
    """

    kind: str
    namespace: str
    name: str
    account: str
    socket_volume: str
    socket_file: str
    agent: bool
    manager: str
    environment: Mapping[str, str]

    @property
    def place(self) -> str:
        """Name it: `Deployment kube-system/ebs-csi-controller`."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def target(self) -> str:
        """Name it for `kubectl rollout restart`."""
        return f"{self.kind.lower()}/{self.name} -n {self.namespace}"


def registered_where(daemonsets: Iterable[Object]) -> dict[str, str]:
    """Return the namespace of each driver's node plugin, by the path that its registrar gives the kubelet."""
    found = {}
    for one in daemonsets:
        for container in _containers(one):
            words = " ".join([*container.get("command", ()), *container.get("args", ())])
            for driver in _REGISTRATION.findall(words):
                found[driver] = one["metadata"]["namespace"]
    return found


def find_controllers(
    workloads: Iterable[tuple[str, Object]], drivers: Iterable[str], homes: Mapping[str, str]
) -> dict[str, Controller]:
    """Find the controller of each driver.

    A workload is one if a sidecar of Kubernetes' CSI project is in it. It is this driver's if its arguments,
    variables, labels or annotations name the driver, or if it is the only one in the namespace of the node plugin.

    Args:
        workloads: Deployments and StatefulSets, each with its kind.
        drivers: names.
        homes: the namespace of each driver's node plugin.
    """
    candidates = [(kind, one) for kind, one in workloads if _is_controller(one)]
    found = {}
    for driver in drivers:
        named = [pair for pair in candidates if driver in _words(pair[1])]
        home = [pair for pair in candidates if pair[1]["metadata"]["namespace"] == homes.get(driver)]
        chosen = named or (home if len(home) == 1 else [])
        if chosen:
            found[driver] = _controller(*chosen[0])
    return found


def blocks_of(
    controller: Controller,
    namespace: Object | None,
    quotas: Sequence[Object],
    limits: Sequence[Object],
) -> list[str]:
    """Say what keeps the agent from standing beside a controller.

    Args:
        controller: where it runs.
        namespace: of the controller; None if it may not be read.
        quotas: ResourceQuotas of that namespace.
        limits: LimitRanges of that namespace.
    """
    blocks = []
    labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
    if labels.get("pod-security.kubernetes.io/enforce") == "restricted":
        blocks.append(
            f"namespace {controller.namespace} enforces the Pod Security Standard restricted: the agent must run as the "
            "user of the socket, which may not be root; name it as runAsUser"
        )
    for quota in quotas:
        blocks += _without_room(quota, controller.namespace)
    for limit in limits:
        blocks += _too_small(limit, controller.namespace)
    if not controller.socket_volume:
        blocks.append(f"no emptyDir of {controller.place} is shared by its containers: where is its socket?")
    return blocks


def quantity(text: object) -> Decimal:
    """Read a quantity of Kubernetes, such as `500m` or `64Mi`; 0 if it is none."""
    found = _QUANTITY.fullmatch(str(text).strip())
    try:
        return Decimal(found[1]) * Decimal(_UNITS.get(found[2], 0)) if found else Decimal(0)
    except DecimalException:
        return Decimal(0)


def _without_room(quota: Object, namespace: str) -> list[str]:
    status = quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    if (quota.get("spec") or {}).get("scopes") or (quota.get("spec") or {}).get("scopeSelector"):
        return []  # it counts some Pods only
    return [
        f"ResourceQuota {namespace}/{quota['metadata']['name']} has no room for the agent: {name} {used.get(name, 0)} of "
        f"{most} used, it needs {NEEDS[wanted]}"
        for name, most in hard.items()
        if (wanted := _ALIASES.get(name, name)) in NEEDS
        and quantity(most) - quantity(used.get(name, 0)) < quantity(NEEDS[wanted])
    ]


def _too_small(limit: Object, namespace: str) -> list[str]:
    """Say which bounds of containers the agent is not within (docs/controller-agent.md)."""
    name = f"LimitRange {namespace}/{limit['metadata']['name']}"
    found = []
    for one in (limit.get("spec") or {}).get("limits") or ():
        if one.get("type") != "Container":
            continue
        most, least, ratio = (one.get(key) or {} for key in ("max", "min", "maxLimitRequestRatio"))
        for what in ("cpu", "memory"):
            asks, has = NEEDS[f"requests.{what}"], NEEDS[f"limits.{what}"]
            if what in most and quantity(most[what]) < quantity(has):
                found.append(f"{name} allows a container {what} {most[what]} at most, the agent has {has}")
            if what in least and quantity(least[what]) > quantity(asks):
                found.append(
                    f"{name} wants {what} {least[what]} of a container at least, the agent asks for {asks}"
                )
            if what in ratio and quantity(ratio[what]) * quantity(asks) < quantity(has):
                found.append(
                    f"{name} allows a limit of {what} {ratio[what]} times the request at most, the agent has {has} for {asks}"
                )
    return found


def _controller(kind: str, one: Object) -> Controller:
    metadata, pod = one["metadata"], one["spec"]["template"]["spec"]
    environment = {
        entry["name"]: ELSEWHERE if entry.get("valueFrom") else str(entry.get("value", ""))
        for container in _containers(one)
        for entry in container.get("env") or ()
    }
    return Controller(
        kind,
        metadata["namespace"],
        metadata["name"],
        str(pod.get("serviceAccountName") or "default"),
        _socket_volume(pod),
        next(filter(None, map(_socket_file, _containers(one))), ""),
        any(container["name"] == CONTAINER for container in _containers(one)),
        _manager(metadata),
        environment,
    )


def _manager(metadata: Mapping[str, Any]) -> str:
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    owners = metadata.get("ownerReferences") or ()
    for owner in owners:
        if owner.get("kind") == "ClusterServiceVersion":
            return f"OLM ({owner['name']})"
    if "olm.owner" in labels:
        return f"OLM ({labels['olm.owner']})"
    if owners:
        return f"an operator ({owners[0].get('kind')} {owners[0].get('name')})"
    if "argocd.argoproj.io/tracking-id" in notes:
        return f"Argo CD ({str(notes['argocd.argoproj.io/tracking-id']).partition(':')[0]})"
    for tool in ("kustomize", "helm"):
        name = labels.get(f"{tool}.toolkit.fluxcd.io/name")
        if name:
            return f"Flux ({name})"
    if labels.get("addonmanager.kubernetes.io/mode") == "Reconcile":
        return "the addon manager"
    if labels.get("app.kubernetes.io/managed-by") == "Helm":
        return f"Helm ({notes.get('meta.helm.sh/release-name', 'a release')}; at its next upgrade)"
    return ""


def _socket_volume(pod: Mapping[str, Any]) -> str:
    """Return the emptyDir that most containers mount; two at least."""
    empty = [one["name"] for one in pod.get("volumes") or () if "emptyDir" in one]
    users = {
        name: sum(
            any(mount.get("name") == name for mount in container.get("volumeMounts") or ())
            for container in pod.get("containers") or ()
        )
        for name in empty
    }
    best = max(empty, key=lambda name: users[name], default="")
    return best if users.get(best, 0) >= 2 else ""


def _socket_file(container: Mapping[str, Any]) -> str:
    """Return the name of the socket that a sidecar is told, outright or by a variable of its own."""
    words = " ".join(map(str, [*(container.get("command") or ()), *(container.get("args") or ())]))
    found = _SOCKET.search(words)
    if found is None:
        return ""
    own = {entry["name"]: str(entry.get("value", "")) for entry in container.get("env") or ()}
    path = own.get(found["variable"], "") if found["variable"] else found["path"]
    return path.rpartition("/")[2]


def _is_controller(one: Object) -> bool:
    names = (str(container.get(key, "")) for container in _containers(one) for key in ("image", "name"))
    return any(map(_SIDECAR.search, names))


def _containers(one: Object) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = ((one.get("spec") or {}).get("template") or {}).get("spec", {}).get(
        "containers"
    ) or ()
    return found


def _words(one: Object) -> set[str]:
    """Return the words in which a workload may name its driver."""
    metadata = one["metadata"]
    texts = [
        *(metadata.get("labels") or {}).values(),
        *(metadata.get("annotations") or {}).values(),
    ]
    for container in _containers(one):
        texts += [*container.get("command", ()), *container.get("args", ())]
        texts += [str(entry.get("value", "")) for entry in container.get("env") or ()]
    return {word for text in texts for word in re.split(r"[\s=,/:\"']+", str(text))}
