"""The network of a sandbox's cluster: its addresses, and the one Service that its Pods call."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from volumehealth.errors import SandboxError
from volumehealth_sandbox.processes import Program

_FORWARDER = Path(__file__).with_name("forward.py")
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    """Addresses that no network uses: 198.18.0.0/15 is set aside for benchmarks (RFC 2544).

    Attributes:
        number: from 0 to 255; clusters that run at the same time need different ones.
    """

    number: int = 0

    @property
    def services(self) -> str:
        """Addresses of Services."""
        return f"198.18.{self.number}.0/24"

    @property
    def apiserver(self) -> str:
        """Address of the Service `kubernetes`: Kubernetes gives it the first one."""
        return f"198.18.{self.number}.1"

    @property
    def pods(self) -> str:
        """Addresses of Pods."""
        return f"198.19.{self.number}.0/24"


class ApiServerService:
    """What kube-proxy does for the Service `kubernetes`: Pods reach the API server at its address.

    Args:
        network: of the cluster.
        port: of the API server on 127.0.0.1.
        home: directory for the log.
    """

    def __init__(self, network: ClusterNetwork, port: int, *, home: Path) -> None:
        self._address = f"{network.apiserver}/32"
        command = (sys.executable, "-I", "-S", _FORWARDER, network.apiserver, str(_HTTPS), str(port))
        self.program = Program("api-service", lambda: command, home=home)
        """Carries the connections."""

    def start(self) -> None:
        """Give this machine the address, and answer there.

        Raises:
            SandboxError: if this machine cannot take it.
        """
        _ip("replace", self._address)
        self.program.start()

    def stop(self) -> None:
        """Take the address away again; safe at any time."""
        self.program.stop()
        _ip("delete", self._address, must=False)


def _ip(do: str, address: str, *, must: bool = True) -> None:
    done = subprocess.run(
        ["ip", "address", do, address, "dev", "lo"], capture_output=True, text=True, timeout=20, check=False
    )
    if must and done.returncode != 0:
        raise SandboxError(f"ip address {do} {address}: {done.stderr.strip()}")
