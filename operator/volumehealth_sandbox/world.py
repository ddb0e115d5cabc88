"""All of the sandbox: the control plane, the shop, its drivers and the operator."""

import asyncio
import os
import shlex
import shutil
import socket
import sys
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from volumehealth.errors import SandboxError
from volumehealth_sandbox.access import write_private
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.demo_objects import DRIVERS, POLICY_TEXT, Driver, open_shop
from volumehealth_sandbox.ports import kept_ports
from volumehealth_sandbox.processes import Program
from volumehealth_sandbox.tools import Say

OPERATOR_NAMESPACE = "volumehealth-system"
OPERATOR_ACCOUNT = "volumehealth-operator"
VOLUMEHEALTH = (sys.executable, "-P", "-m", "volumehealth")

_MARK = ".volumehealth-sandbox"
"""A file that says: this directory is ours to remove."""
_LONGEST_SOCKET_PATH = 105  # gRPC servers bind no longer one, although a sockaddr_un holds 107 bytes
_DRIVER_WITHIN = 30.0


class Sandbox:
    """The control plane, the drivers and the operator, in one directory.

    A context manager that leaves nothing behind.

    Args:
        home: the directory; made if missing, refused if it holds anything else.
        detached: True if all of it shall outlive this process.
        say: is told each step.
    """

    def __init__(self, home: Path, *, detached: bool = False, say: Say = lambda line: None) -> None:
        self.home = home.absolute()
        self._say = say
        self.control_plane = ControlPlane(self.home, detached=detached, say=say)
        self.drivers = {
            driver: Program(
                f"driver-{driver.key}",
                partial(self._driver_command, driver),
                home=self.home,
                detached=detached,
            )
            for driver in DRIVERS
        }
        self.operator = Program("operator", self._operator_command, home=self.home, detached=detached)

    # Where things are.

    @property
    def programs(self) -> tuple[Program, ...]:
        """Every program, in the order in which they start."""
        return (*self.control_plane.programs, *self.drivers.values(), self.operator)

    @property
    def exists(self) -> bool:
        """True if the directory holds a sandbox, running or not."""
        return (self.home / _MARK).exists()

    @property
    def policy_file(self) -> Path:
        """The policy that watches the shop."""
        return self.home / "policy.yaml"

    @property
    def environment_file(self) -> Path:
        """What a shell sources to have kubectl and the kubeconfig at hand."""
        return self.home / "env"

    @property
    def metrics_url(self) -> str:
        """Where the operator serves its metrics."""
        return f"http://127.0.0.1:{self._operator_ports[0]}/metrics"

    @property
    def _operator_ports(self) -> list[int]:
        return kept_ports(self.home / "operator-ports.json", 2)

    def endpoint(self, driver: Driver) -> str:
        """Give a driver's socket as `unix:///path`."""
        return f"unix://{self._socket(driver)}"

    def _socket(self, driver: Driver) -> Path:
        return self.home / f"{driver.key}.sock"

    # Life.

    def start(self) -> None:
        """Start everything but the policy; what was started is ended again if a part fails.

        Raises:
            SandboxError: if a part does not start, or the directory is in use.
        """
        self._claim_home()
        try:
            self._say("Starting the simulated CSI drivers.")
            for program in self.drivers.values():
                program.start()
            self._say("Starting etcd and kube-apiserver.")
            self.control_plane.start()
            self._write_environment()
            self._say("Installing the APIs and the operator's rights (crds/ and deploy/).")
            self._install()
            self._say("Opening the shop: claims, volumes and Pods.")
            asyncio.run(open_shop(self.control_plane.kubeconfig))
            self._await_drivers()
            self._say("Starting the operator with its ServiceAccount's own token.")
            self._start_operator()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, whoever started it, and remove the directory; safe at any time."""
        for program in reversed(self.programs):
            program.stop()
        if self.exists:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check_alive(self) -> None:
        """Raise if a program has ended by itself.

        Raises:
            SandboxError: with the end of its log.
        """
        for program in self.programs:
            program.check_alive()

    # Steps.

    def _claim_home(self) -> None:
        longest = max(len(str(self._socket(driver))) for driver in DRIVERS)
        if longest > _LONGEST_SOCKET_PATH:
            raise SandboxError(f"{self.home} is too long a path for a unix socket; choose a shorter one")
        if self.exists:
            if any(program.alive for program in self.programs):
                raise SandboxError(
                    f"a sandbox is in {self.home} already; `volumehealth sandbox down` ends it"
                )
            shutil.rmtree(self.home)
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SandboxError(f"{self.home} cannot be made: {error.strerror}") from error
        if any(self.home.iterdir()):
            raise SandboxError(f"{self.home} is not empty and no sandbox; nothing is done to it")
        (self.home / _MARK).touch()
        self.policy_file.write_text(POLICY_TEXT)

    def _install(self) -> None:
        """Apply deploy/ as a cluster's owner would, but for the Deployment: the operator runs beside it here."""
        built = self.control_plane.kubectl("kustomize", str(asset("deploy")))
        objects = [one for one in yaml.safe_load_all(built) if one and one["kind"] != "Deployment"]
        text = yaml.safe_dump_all(objects)
        self.control_plane.kubectl("apply", "--server-side", "-f", "-", input=text)
        self.control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def _await_drivers(self) -> None:
        deadline = time.monotonic() + _DRIVER_WITHIN
        for driver, program in self.drivers.items():
            while not _listens(self._socket(driver)):
                program.check_alive()
                if time.monotonic() > deadline:
                    raise SandboxError(
                        f"{program.name} does not answer. The end of its log:\n{program.tail()}"
                    )
                time.sleep(0.05)

    def _start_operator(self) -> None:
        token = self.control_plane.create_token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, duration="8760h")
        self.control_plane.write_kubeconfig(self._operator_kubeconfig, token, user=OPERATOR_ACCOUNT)
        self.operator.start()

    @property
    def _operator_kubeconfig(self) -> Path:
        return self.home / "operator.kubeconfig"

    def _driver_command(self, driver: Driver) -> tuple[str, ...]:
        return (
            *VOLUMEHEALTH,
            "sandbox",
            "driver",
            f"--endpoint={self.endpoint(driver)}",
            f"--name={driver.name}",
            f"--volumes={driver.volumes}",
            f"--volume-prefix={driver.key}-",
            *driver.flags,
        )

    def _operator_command(self) -> tuple[str | Path, ...]:
        metrics, health = self._operator_ports
        return (
            *VOLUMEHEALTH,
            "operator",
            f"--kubeconfig={self._operator_kubeconfig}",
            *(f"--csi-endpoint={driver.name}={self.endpoint(driver)}" for driver in DRIVERS),
            f"--metrics-address=127.0.0.1:{metrics}",
            f"--health-address=127.0.0.1:{health}",
            f"--namespace={OPERATOR_NAMESPACE}",
        )

    def shell_environment(self) -> dict[str, str]:
        """Give the variables with which a shell finds kubectl, volumehealth and this sandbox."""
        programs = f"{self.control_plane.kubectl_path.parent}:{Path(sys.executable).parent}"
        return {
            **self.control_plane.kubectl_environment(),
            "SANDBOX": str(self.home),
            "PATH": f"{programs}:{os.environ.get('PATH', '')}",
        }

    def _write_environment(self) -> None:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.shell_environment().items()]
        write_private(self.environment_file, "\n".join(lines) + "\n")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
