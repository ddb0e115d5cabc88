"""What a process was told: parsed once from flags and environment, every fault reported at once.

Nothing else in the package reads the environment, and nothing is read at import.
"""

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from volumehealth.errors import SettingsError
from volumehealth.model.ids import is_name
from volumehealth.model.runbooks import PAGE
from volumehealth.model.text import whole_number

ENV_PREFIX = "VOLUMEHEALTH_"
DEFAULT_NAMESPACE = "volumehealth-system"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LONGEST_SOCKET = 107
"""Bytes that a sockaddr_un holds."""
_ADDRESS = 512
"""Characters of an address at most."""
_DRIVER_NAME = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9._]{0,61}[a-zA-Z0-9])?")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Mutual TLS towards drivers on TCP. All three or none."""

    ca: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class EndpointSetting:
    """A `--csi-endpoint`: an address, and the driver's name if it was given as `NAME=ADDRESS`."""

    address: str
    driver: str = ""


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen. Port 0 picks a free one; an empty setting turns the server off."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of `volumehealth operator` and, as far as they apply, of `volumehealth check`.

    Attributes:
        kubeconfig: path; empty means as kubectl finds it, then in-cluster.
        csi_endpoints: the controller sockets of drivers.
        csi_tls: for TCP endpoints that are not on loopback.
        csi_secrets_dir: holds one file for each driver, named after it: a YAML or JSON map of secrets that CSI
            1.13's health calls take. The operator has no right to read Secrets.
        csi_gets_in_flight: ControllerGetVolume calls at once to one driver (facts, D3).
        csi_busy_percent: how much of the time one driver may be kept busy by us (facts, D3: a tenth).
        runbooks: address of the page of runbooks, as it stands in records, policies and alerts.
        outputs_dir: holds a directory for each output that needs configuration, named after it; empty if none does.
        metrics_address, health_address: where to serve; None is off.
        leader_elect: hold the Lease; only one active operator is allowed in a cluster.
        namespace: of the Lease.
        log_format, log_level: as named.
    """

    kubeconfig: str = ""
    csi_endpoints: tuple[EndpointSetting, ...] = ()
    csi_tls: TlsFiles | None = None
    csi_secrets_dir: str = ""
    outputs_dir: str = ""
    runbooks: str = PAGE
    csi_gets_in_flight: int = 4
    csi_busy_percent: int = 10
    metrics_address: HostPort | None = HostPort("0.0.0.0", 8080)
    health_address: HostPort | None = HostPort("0.0.0.0", 8081)
    leader_elect: bool = True
    namespace: str = DEFAULT_NAMESPACE
    log_format: str = "text"
    log_level: str = "info"


class _Reader:
    """Collects faults while it reads."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self.raw = raw
        self.faults: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        value = self.raw.get(name)
        return default if value is None else str(value)

    def fault(self, name: str, message: str) -> None:
        self.faults.append(f"--{name.replace('_', '-')}: {message}")

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        value = self.text(name, default).lower()
        if value not in allowed:
            self.fault(name, f"{value!r} is none of {', '.join(allowed)}")
        return value

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        text = self.text(name, str(default))
        number = whole_number(text)
        if number is None or not least <= number <= most:
            self.fault(name, f"{text!r} is not a whole number from {least} to {most}")
            return default
        return number

    def existing(self, name: str, *, directory: bool = False) -> str:
        text = self.text(name)
        path = Path(text)
        if text and not (path.is_dir() if directory else path.is_file()):
            self.fault(name, f"there is no {'directory' if directory else 'file'} {text}")
        return text

    def name(self, name: str) -> str:
        """Read the name of an object of Kubernetes, which stands in paths of requests; empty if it is not given."""
        text = self.text(name)
        if text and not is_name(text):
            self.fault(name, f"{text!r} can be the name of nothing in Kubernetes")
        return text

    def page(self, name: str, default: str) -> str:
        text = self.text(name) or default
        if len(text) > _ADDRESS or not re.fullmatch(r"[!-~]+", text) or "#" in text:
            self.fault(name, f"{text!r} is not the address of a page, without #SECTION")
        return text

    def host_port(self, name: str, default: HostPort | None) -> HostPort | None:
        value = self.raw.get(name)
        if value is None:
            return default
        text = str(value)
        if text in ("", "0", "off"):
            return None
        host, colon, port = text.rpartition(":")
        host = host.strip("[]")
        number = whole_number(port)
        if not colon or number is None or number > 65535:
            self.fault(name, f"{text!r} is not HOST:PORT")
            return default
        return HostPort(host or "0.0.0.0", number)

    def endpoints(self, name: str) -> tuple[EndpointSetting, ...]:
        raw = self.raw.get(name) or ()
        # The command line has taken a variable apart at its blanks already.
        several = raw.split() if isinstance(raw, str) else [str(text) for text in _items(raw)]
        texts = [text for one in several for text in one.split(",") if text or one == ""]
        found: dict[str, EndpointSetting] = {}
        for text in texts:
            driver, equals, address = text.partition("=")
            if not equals:
                driver, address = "", text
            if equals and not _DRIVER_NAME.fullmatch(driver):
                self.fault("csi_endpoint", f"{driver!r} in {text!r} is not a CSI driver name")
            if address in found:
                self.fault("csi_endpoint", f"{address} is given twice")
            fault = address_fault(address)
            if fault:
                self.fault("csi_endpoint", fault)
            found[address] = EndpointSetting(address, driver)
        return tuple(found.values())

    def tls(self) -> TlsFiles | None:
        files = TlsFiles(*(self.existing(f"csi_tls_{name}") for name in ("ca", "cert", "key")))
        given = [bool(getattr(files, field.name)) for field in fields(files)]
        if any(given) and not all(given):
            self.faults.append(
                "--csi-tls-ca, --csi-tls-cert and --csi-tls-key go together: mutual TLS needs all"
            )
        return files if all(given) else None


def _items(raw: object) -> Sequence[object]:
    return raw if isinstance(raw, (list, tuple)) else [raw]


def address_fault(address: str) -> str:
    """Say what is wrong with a CSI endpoint's address; empty if nothing is."""
    if address.startswith("unix://"):
        if not address.startswith("unix:///"):
            return f"{address!r} needs an absolute path: unix:///run/csi.sock"
        if len(address.removeprefix("unix://").encode()) > _LONGEST_SOCKET:
            return f"{address!r} is too long: a unix socket's path has {_LONGEST_SOCKET} bytes at most"
        return ""
    host, colon, port = address.removeprefix("tcp://").rpartition(":")
    if not colon or not host or not 0 < (whole_number(port) or 0) < 65536:
        return f"{address!r} is neither unix:///path nor HOST:PORT"
    return ""


def is_loopback(host: str) -> bool:
    """Tell whether a host can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_settings(raw: Mapping[str, object]) -> Settings:
    """Make Settings of what the command line read.

    Args:
        raw: values by option name in snake_case; None means not given.

    Raises:
        SettingsError: with every fault, each naming its flag.
    """
    reader = _Reader(raw)
    endpoints = reader.endpoints("csi_endpoint")
    tls = reader.tls()
    for endpoint in endpoints:
        host = endpoint.address.removeprefix("tcp://").rpartition(":")[0]
        remote = not endpoint.address.startswith("unix://") and not is_loopback(host)
        if remote and tls is None and not address_fault(endpoint.address):
            reader.fault(
                "csi_endpoint",
                f"{endpoint.address} is not on loopback: TCP needs --csi-tls-ca, -cert and -key",
            )
    settings = Settings(
        kubeconfig=reader.existing("kubeconfig"),
        csi_endpoints=endpoints,
        csi_tls=tls,
        csi_secrets_dir=reader.existing("csi_secrets_dir", directory=True),
        outputs_dir=reader.existing("outputs_dir", directory=True),
        runbooks=reader.page("runbooks", PAGE),
        csi_gets_in_flight=reader.number("csi_gets_in_flight", 4, least=1, most=1024),
        csi_busy_percent=reader.number("csi_busy_percent", 10, least=1, most=100),
        metrics_address=reader.host_port("metrics_address", Settings().metrics_address),
        health_address=reader.host_port("health_address", Settings().health_address),
        leader_elect=bool(raw.get("leader_elect", True)),
        namespace=reader.name("namespace") or own_namespace(),
        log_format=reader.choice("log_format", LOG_FORMATS, "text"),
        log_level=reader.choice("log_level", LOG_LEVELS, "info"),
    )
    if reader.faults:
        raise SettingsError(reader.faults)
    return settings


def own_namespace() -> str:
    """Return the namespace of the pod we run in, or the one that `deploy/` makes."""
    try:
        return _NAMESPACE_FILE.read_text().strip() or DEFAULT_NAMESPACE
    except OSError:
        return DEFAULT_NAMESPACE


def identity() -> str:
    """Return who we are to a Lease: the pod's name, or host and process."""
    return os.environ.get("POD_NAME") or f"{os.uname().nodename}_{os.getpid()}"
