"""Where a driver answers."""

from dataclasses import dataclass

from volumehealth.settings import TlsFiles, address_fault, is_loopback

_UNIX = "unix://"
_TCP = "tcp://"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that was checked.

    Attributes:
        target: as gRPC takes it: `unix:///path`, or `host:port`.
        tls: files for mutual TLS; None on a unix socket, and on loopback if none were given.
    """

    target: str
    tls: TlsFiles | None = None

    def __str__(self) -> str:
        return self.target

    @property
    def is_unix(self) -> bool:
        """Whether it is a unix socket of this machine."""
        return self.target.startswith(_UNIX)


def parse_endpoint(text: str, tls: TlsFiles | None = None) -> Endpoint:
    """Read an endpoint: `unix:///path`, `host:port`, or `tcp://host:port`.

    Args:
        text: the address.
        tls: used for every TCP address, on loopback too.

    Raises:
        ValueError: if it is no address, or plain TCP to another machine.
    """
    fault = address_fault(text)
    if fault:
        raise ValueError(fault)
    if text.startswith(_UNIX):
        return Endpoint(text)
    target = text.removeprefix(_TCP)
    if tls is None and not is_loopback(target.rpartition(":")[0]):
        raise ValueError(f"{target} is not on loopback: TCP to another machine needs mutual TLS")
    return Endpoint(target, tls)
