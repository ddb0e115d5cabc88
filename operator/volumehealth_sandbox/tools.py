"""The Go programs the sandbox runs: found where Kubernetes developers keep them, else built once and cached."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from volumehealth.errors import SandboxError
from volumehealth_sandbox.build import Build, build, go_toolchain
from volumehealth_sandbox.locks import locked
from volumehealth_sandbox.releases import release_module

Say = Callable[[str], None]
"""Takes one line for the person who waits."""

GOMOD = Path(__file__).with_name("gomod")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What tools of one Go module have in common."""

    product: str
    """First part of their cache directory's name."""
    module: str
    """Module path whose version in go.mod is the tools' version."""
    directory: Path | None
    """Where go.mod is; None if the caller must say."""
    ldflags: str = "-s -w"


@dataclass(frozen=True, slots=True)
class _Tool:
    kind: _Kind
    package: str
    takes: str
    """How long a build usually takes on two cores."""
    version_arguments: tuple[str, ...] = ("--version",)
    """How to ask a program found elsewhere for its version; empty: it cannot be asked, so none is taken."""


_KUBERNETES = _Kind(
    "kubernetes",
    "k8s.io/kubernetes",
    GOMOD / "kubernetes",
    ldflags="-s -w -X k8s.io/component-base/version.gitVersion={version}",
)
_ETCD = _Kind("etcd", "go.etcd.io/etcd/server/v3", GOMOD / "etcd")
_HELM3 = _Kind(
    "helm",
    "helm.sh/helm/v3",
    GOMOD / "helm3",
    # For `helm template` without a cluster: the chart asks for 1.30, and a helm that is told nothing claims 1.20.
    ldflags="-s -w -X helm.sh/helm/v3/internal/version.version={version}"
    " -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37",
)
_HELM4 = _Kind(
    "helm",
    "helm.sh/helm/v4",
    GOMOD / "helm4",
    ldflags="-s -w -X helm.sh/helm/v4/internal/version.version={version}",
)
_CSI_SANITY = _Kind("csi-sanity", "github.com/kubernetes-csi/csi-test/v5", None)

_ALL: Mapping[str, _Tool] = {
    "etcd": _Tool(_ETCD, "go.etcd.io/etcd/server/v3", "about a minute"),
    "kube-apiserver": _Tool(_KUBERNETES, "k8s.io/kubernetes/cmd/kube-apiserver", "4 to 7 minutes"),
    "kubectl": _Tool(
        _KUBERNETES,
        "k8s.io/kubernetes/cmd/kubectl",
        "about a minute",
        ("version", "--client", "--output=yaml"),
    ),
    "kube-controller-manager": _Tool(
        _KUBERNETES, "k8s.io/kubernetes/cmd/kube-controller-manager", "2 to 4 minutes"
    ),
    "kubelet": _Tool(_KUBERNETES, "k8s.io/kubernetes/cmd/kubelet", "1 to 3 minutes"),
    "helm3": _Tool(_HELM3, "helm.sh/helm/v3/cmd/helm", "1 to 3 minutes", ()),
    "helm4": _Tool(_HELM4, "helm.sh/helm/v4/cmd/helm", "1 to 3 minutes", ()),
    "kube-scheduler": _Tool(_KUBERNETES, "k8s.io/kubernetes/cmd/kube-scheduler", "1 to 2 minutes"),
    "csi-sanity": _Tool(
        _CSI_SANITY, "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity", "half a minute", ()
    ),
}

RELEASE = "VOLUMEHEALTH_KUBERNETES"
"""Environment variable that names another release of Kubernetes, such as `v1.30.14`."""
TOOLS = tuple(name for name, tool in _ALL.items() if tool.kind.directory)
"""The programs that this package can build by itself."""


def find_or_build(
    name: str,
    say: Say,
    *,
    module_dir: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Path:
    """Find a program, or build it.

    It looks in `KUBEBUILDER_ASSETS`, on PATH, in the cache (`VOLUMEHEALTH_CACHE`, else the user's cache
    directory); only a version that fits is taken. Two processes never build the same program twice. Kubernetes'
    programs are those of another release if `VOLUMEHEALTH_KUBERNETES` names one.

    Args:
        name: `etcd`, `kube-apiserver`, `kubectl`, `kube-controller-manager`, `kubelet`, `kube-scheduler`,
            `helm3`, `helm4` or `csi-sanity`.
        say: is told what is done and how long it may take; nothing is said if the program is there.
        module_dir: directory of the go.mod, for a program that this package brings none for.
        environment: instead of the process's own.

    Returns:
        The path of the program.

    Raises:
        SandboxError: if it cannot be built; the message holds the end of the build's output.
    """
    tool = _ALL[name]
    directory = module_dir or tool.kind.directory
    if directory is None:
        raise SandboxError(f"{name}: module_dir must say where its go.mod is")
    release = environment.get(RELEASE, "") if directory == _KUBERNETES.directory else ""
    version = release or module_version(directory, tool.kind.module)
    elsewhere = _installed(name, tool, version=version, environment=environment)
    if elsewhere is not None:
        return elsewhere
    cache = cache_directory(environment)
    target = cache / f"{tool.kind.product}-{version}-{machine()}" / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(
        target.with_name(f".{name}.lock"), lambda: say(f"Another process builds {name}; waiting for it.")
    ):
        if not target.exists():
            ldflags = tool.kind.ldflags.format(version=version)
            say(f"Building {name} {version} once, {tool.takes} on two cores, into {target.parent}.")
            if release:
                go = go_toolchain(say, cache=cache, environment=environment)
                directory = release_module(release, cache / "releases", go=go, environment=environment)
            build(
                Build(name, directory, tool.package, ldflags, target, pinned=not release),
                say,
                cache=cache,
                environment=environment,
            )
    return target


def kubernetes_version(environment: Mapping[str, str] = os.environ) -> str:
    """Return the release of Kubernetes whose programs are found or built, such as `v1.37.2`."""
    return environment.get(RELEASE) or module_version(GOMOD / "kubernetes", _KUBERNETES.module)


def home_directory(otherwise: str) -> Path:
    """Return the user's home.

    Args:
        otherwise: the variable that can be set instead of having one.

    Raises:
        SandboxError: if the user has none: a uid with no passwd entry, and no HOME.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise SandboxError(f"this user has no home directory: set {otherwise}") from error


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Name the directory where built programs are kept, as an absolute path."""
    if own := environment.get("VOLUMEHEALTH_CACHE"):
        return Path(own).absolute()
    base = environment.get("XDG_CACHE_HOME")
    return (
        Path(base) if base else home_directory("VOLUMEHEALTH_CACHE") / ".cache"
    ).absolute() / "volumehealth"


def module_version(module_dir: Path, module: str) -> str:
    """Read from a go.mod which version of a module it asks for, such as `v1.37.2`."""
    text = (module_dir / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise SandboxError(f"{module_dir / 'go.mod'} does not ask for {module}")
    return found[1]


def machine() -> str:
    """Name this machine as Go does: `linux-amd64`."""
    processor = platform.machine().lower()
    return (
        f"{platform.system().lower()}-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(processor, processor) }"
    )


def _installed(name: str, tool: _Tool, *, version: str, environment: Mapping[str, str]) -> Path | None:
    if not tool.version_arguments:
        return None
    assets = environment.get("KUBEBUILDER_ASSETS", "")
    for place in (assets, environment.get("PATH", "")):
        found = shutil.which(name, path=place) if place else None
        if found and version_fits(_ask_version([found, *tool.version_arguments]), version):
            return Path(found)
    return None


def version_fits(told: str, wanted: str) -> bool:
    """Decide whether a program that tells this version can stand in for the wanted one.

    Kubernetes: the same minor release. etcd: the same major release, 3.5 or later. A wrapper that says more
    than a plain release (`v1.32.4-dispatcher`) never fits: it picks another program behind our back.
    """
    found = re.search(
        r"(?:Kubernetes |gitVersion: |etcd Version: )v?(\d+)\.(\d+)\.\d+(\+\S*)?\s*$", told, re.MULTILINE
    )
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    if "etcd" in told:
        return major == 3 and minor >= 5
    return wanted.startswith(f"v{major}.{minor}.")


def _ask_version(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
