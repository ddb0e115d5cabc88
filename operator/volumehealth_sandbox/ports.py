"""Free ports on loopback."""

import json
import random
import socket
from pathlib import Path

# Below the range from which the kernel takes ports for outgoing connections: a client that reconnects while
# the server is down could otherwise be given the very port it calls, and talk to itself.
_FIRST, _LAST = 20_000, 32_000


def free_ports(count: int) -> list[int]:
    """Find `count` different TCP ports of 127.0.0.1 on which nobody listens."""
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", random.randint(_FIRST, _LAST)))
            except OSError:
                candidate.close()
                continue
            held.append(candidate)
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def kept_ports(file: Path, count: int) -> list[int]:
    """Give the ports that a file names; the first time choose free ones and write the file."""
    if file.exists():
        ports: list[int] = json.loads(file.read_text())
        return ports
    ports = free_ports(count)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_text(json.dumps(ports))
    return ports
