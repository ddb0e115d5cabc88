"""Command lines of the control plane's programs, as pure functions of where their files and ports are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NOT_ADMITTING = "ServiceAccount,StorageObjectInUseProtection"
"""Plug-ins that need controllers: to make service accounts, and to take the finalizers of protected objects off again."""

NODE_GRACE_SECONDS = 8
"""After so long without a word from its kubelet a node is no longer Ready, if `node-lifecycle-controller` runs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Files and ports of one control plane."""

    home: Path
    etcd_port: int
    etcd_peer_port: int
    apiserver_port: int

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.apiserver_port}"

    @property
    def certificates(self) -> Path:
        """Directory in which the API server makes its certificate."""
        return self.home / "certs"

    @property
    def ca_file(self) -> Path:
        """The API server's certificate with the CA that signed it."""
        return self.certificates / "apiserver.crt"

    @property
    def key_file(self) -> Path:
        """The API server's key; it signs service account tokens as well."""
        return self.certificates / "apiserver.key"

    @property
    def tokens(self) -> Path:
        """The static tokens."""
        return self.home / "tokens.csv"

    @property
    def audit_log(self) -> Path:
        """One JSON event a line."""
        return self.home / "audit.log"

    @property
    def audit_policy(self) -> Path:
        """What the audit log holds."""
        return self.home / "audit-policy.json"


def etcd_command(program: Path, layout: Layout) -> tuple[str | Path, ...]:
    """Etcd on loopback that does not wait for the disk: nothing here outlives a power cut."""
    client = f"http://127.0.0.1:{layout.etcd_port}"
    peer = f"http://127.0.0.1:{layout.etcd_peer_port}"
    return (
        program,
        "--name=default",
        f"--data-dir={layout.home / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def apiserver_command(
    program: Path,
    layout: Layout,
    *,
    feature_gates: Sequence[str],
    services: str,
    whole: bool,
    more: Sequence[str] = (),
) -> tuple[str | Path, ...]:
    """An API server with RBAC, on loopback; it makes its own certificate at the first start.

    Args:
        program: its path.
        layout: where its files and ports are.
        feature_gates: such as `CSIVolumeHealth=true`.
        services: the addresses of Services; the first is the API server's own.
        whole: True if every controller runs, and so every default admission plug-in can do its work.
        more: arguments that a test adds.
    """
    admission = [] if whole else [f"--disable-admission-plugins={_NOT_ADMITTING}"]
    gates = [f"--feature-gates={','.join(feature_gates)}"] if feature_gates else []
    return (
        program,
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={layout.apiserver_port}",
        f"--cert-dir={layout.certificates}",
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={services}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.key_file}",
        f"--service-account-signing-key-file={layout.key_file}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={layout.tokens}",
        *admission,
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        "--shutdown-delay-duration=0s",
        *gates,
        *more,
    )


def controller_manager_command(
    program: Path, layout: Layout, *, kubeconfig: Path, controllers: Sequence[str]
) -> tuple[str | Path, ...]:
    """A controller manager that runs the named controllers and nothing else."""
    return (
        program,
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(controllers)}",
        f"--service-account-private-key-file={layout.key_file}",
        f"--root-ca-file={layout.ca_file}",
        "--leader-elect=false",
        "--secure-port=0",
        "--pvclaimbinder-sync-period=2s",
        "--node-monitor-period=1s",
        f"--node-monitor-grace-period={NODE_GRACE_SECONDS}s",
    )


def scheduler_command(program: Path, *, kubeconfig: Path) -> tuple[str | Path, ...]:
    """A scheduler, as a cluster has it."""
    return (program, f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0")
