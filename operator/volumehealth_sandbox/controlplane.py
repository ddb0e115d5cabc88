"""A real control plane on loopback: etcd, kube-apiserver and, if wanted, kube-controller-manager and kube-scheduler."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from volumehealth.errors import SandboxError
from volumehealth_sandbox.access import Access, await_ready
from volumehealth_sandbox.flags import (
    Layout,
    apiserver_command,
    controller_manager_command,
    etcd_command,
    scheduler_command,
)
from volumehealth_sandbox.network import ClusterNetwork
from volumehealth_sandbox.ports import kept_ports
from volumehealth_sandbox.processes import Program
from volumehealth_sandbox.tools import Say, find_or_build

ADMIN = "sandbox-admin"
COLLECTORS = ("garbage-collector-controller", "namespace-controller")
"""Controllers that remove what owners leave behind, and empty namespaces that are deleted."""
_EVERYTHING = ("*",)


class ControlPlane:
    """etcd and kube-apiserver with RBAC, in a directory of their own; ready in about six seconds.

    A context manager, sync and async. All methods are sync and may be called from a thread
    (`await asyncio.to_thread(control_plane.restart_apiserver)`).

    Args:
        home: the directory; a control plane that was stopped starts again from it with all its objects.
        feature_gates: such as `CSIVolumeHealth=true`.
        apiserver_arguments: more arguments of kube-apiserver.
        users: more users than the admin, by name, with their groups; `token_of` gives their tokens.
        controllers: of kube-controller-manager; none, and it is not started. See `COLLECTORS`.
        whole: True for what a cluster has: every controller, the scheduler and all default admission plug-ins.
        network: the addresses of Services and Pods.
        detached: True if it shall outlive this process; else it dies with it, however that ends.
        say: is told what takes long.
    """

    def __init__(
        self,
        home: Path,
        *,
        feature_gates: Sequence[str] = (),
        apiserver_arguments: Sequence[str] = (),
        users: Mapping[str, Sequence[str]] | None = None,
        controllers: Sequence[str] = (),
        whole: bool = False,
        network: ClusterNetwork | None = None,
        detached: bool = False,
        say: Say = lambda line: None,
    ) -> None:
        self.home = home.absolute()
        self._feature_gates = tuple(feature_gates)
        self._apiserver_arguments = tuple(apiserver_arguments)
        self._users = {ADMIN: ("system:masters",), **(users or {})}
        self._controllers = _EVERYTHING if whole else tuple(controllers)
        self._whole = whole
        self.network = network or ClusterNetwork()
        self._say = say
        self._kubectl: Path | None = None
        self._layout: Layout | None = None
        self.etcd = Program("etcd", self._etcd_command, home=self.home, detached=detached)
        """The etcd server."""
        self.apiserver = Program("kube-apiserver", self._apiserver_command, home=self.home, detached=detached)
        """The API server."""
        self.controller_manager = Program(
            "kube-controller-manager", self._controller_manager_command, home=self.home, detached=detached
        )
        """The controller manager; it runs only if `controllers` names some."""
        self.scheduler = Program("kube-scheduler", self._scheduler_command, home=self.home, detached=detached)
        """The scheduler; it runs only in a whole control plane."""

    # Where things are.

    @property
    def layout(self) -> Layout:
        """Files and ports; the ports are chosen at the first use and kept as long as `home` exists."""
        if self._layout is None:
            self._layout = Layout(self.home, *kept_ports(self.home / "ports.json", 3))
        return self._layout

    @property
    def access(self) -> Access:
        """Who may log in, and how."""
        return Access(self.layout)

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig file."""
        return self.home / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON event a line, level Metadata."""
        return self.layout.audit_log

    @property
    def ca_file(self) -> Path:
        """What the API server's certificate is checked against."""
        return self.layout.ca_file

    @property
    def url(self) -> str:
        """The API server's address, on 127.0.0.1."""
        return self.layout.url

    @property
    def port(self) -> int:
        """The API server's port on 127.0.0.1."""
        return self.layout.apiserver_port

    @property
    def admin_token(self) -> str:
        """The admin's bearer token."""
        return self.access.token_of(ADMIN)

    def token_of(self, user: str) -> str:
        """Give the bearer token of the admin or of one of `users`."""
        return self.access.token_of(user)

    @property
    def programs(self) -> tuple[Program, ...]:
        """Its programs, in the order in which they start."""
        controller_manager = [self.controller_manager] if self._controllers else []
        scheduler = [self.scheduler] if self._whole else []
        return (self.etcd, self.apiserver, *controller_manager, *scheduler)

    # Life.

    def start(self) -> None:
        """Start everything and return when the API server is ready.

        Raises:
            SandboxError: if something does not start; the message holds the end of its log.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self.access.write_tokens(self._users)
            self.etcd.start()
            self.start_apiserver()
            self.write_kubeconfig(self.kubeconfig, self.admin_token, user=ADMIN)
            for program in self.programs[2:]:
                program.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, the API server first; safe at any time."""
        for program in reversed(self.programs):
            program.stop()

    def kill(self) -> None:
        """End everything at once, as a power cut would."""
        for program in reversed(self.programs):
            program.kill()

    def stop_apiserver(self) -> None:
        """End the API server alone."""
        self.apiserver.stop()

    def kill_apiserver(self) -> None:
        """End the API server alone, as a crash would."""
        self.apiserver.kill()

    def start_apiserver(self) -> None:
        """Start the API server again on the same port and return when it is ready.

        Raises:
            SandboxError: if it does not start.
        """
        self.apiserver.start()
        await_ready(self.layout, self.admin_token, (self.etcd, self.apiserver))

    def restart_apiserver(self) -> None:
        """End the API server and start it again on the same port."""
        self.stop_apiserver()
        self.start_apiserver()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # Use.

    def kubectl(self, *arguments: str, input: str | None = None, kubeconfig: Path | None = None) -> str:  # noqa: A002 - as subprocess names it
        """Run kubectl and give its output; the user's own kubeconfig and caches are never touched.

        Args:
            *arguments: of kubectl.
            input: what it reads from standard input.
            kubeconfig: another than the admin's.

        Raises:
            SandboxError: if it fails; the message is what it said.
        """
        done = subprocess.run(
            [self.kubectl_path, *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | self.kubectl_environment(kubeconfig),
        )
        if done.returncode != 0:
            raise SandboxError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    @property
    def kubectl_path(self) -> Path:
        """Kubectl of the API server's own version."""
        if self._kubectl is None:
            self._kubectl = find_or_build("kubectl", self._say)
        return self._kubectl

    def kubectl_environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """Give the variables that keep kubectl within `home`."""
        return {
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(self.home / "kubectl-cache"),
            "KUBERC": "off",
        }

    def create_token(self, namespace: str, service_account: str, *, duration: str = "24h") -> str:
        """Get a service account's bearer token by TokenRequest, good for `duration`."""
        return self.kubectl(
            "create", "token", service_account, f"--namespace={namespace}", f"--duration={duration}"
        ).strip()

    def write_kubeconfig(self, path: Path, token: str, *, user: str) -> Path:
        """Write a kubeconfig for another user than the admin; gives back its path."""
        self.access.write_kubeconfig(path, token, user=user)
        return path

    # The command lines.

    def _etcd_command(self) -> tuple[str | Path, ...]:
        return etcd_command(find_or_build("etcd", self._say), self.layout)

    def _apiserver_command(self) -> tuple[str | Path, ...]:
        program = find_or_build("kube-apiserver", self._say)
        return apiserver_command(
            program,
            self.layout,
            feature_gates=self._feature_gates,
            services=self.network.services,
            whole=self._whole,
            more=self._apiserver_arguments,
        )

    def _controller_manager_command(self) -> tuple[str | Path, ...]:
        program = find_or_build("kube-controller-manager", self._say)
        return controller_manager_command(
            program, self.layout, kubeconfig=self.kubeconfig, controllers=self._controllers
        )

    def _scheduler_command(self) -> tuple[str | Path, ...]:
        return scheduler_command(find_or_build("kube-scheduler", self._say), kubeconfig=self.kubeconfig)
