"""A command of the product as a Pod's container would run it, without a container runtime.

Its own mount namespace with a read-only root and the ServiceAccount's files where they are in a Pod; a uid of choice
with no capability, which can gain none; an empty environment but for what is given. It needs root.
"""

import os
import shlex
import site
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import volumehealth

_SECRETS = "/run/secrets/kubernetes.io/serviceaccount"
"""/var/run is a link to /run."""


def reason_not_to() -> str:
    """Say why containers cannot be imitated here; empty if they can."""
    if os.getuid() != 0:
        return "only root can become another uid in a mount namespace of its own"
    if Path("/var/run").resolve() != Path("/run"):
        return "/var/run is no link to /run"
    return ""


@dataclass(frozen=True, slots=True)
class User:
    """Who runs it.

    Attributes:
        uid, gid: OpenShift gives a random uid and group 0.
    """

    uid: int
    gid: int


def command(
    *arguments: str,
    user: User,
    server: str,
    ca_file: Path,
    token_file: Path,
    environment: Mapping[str, str],
) -> tuple[str, ...]:
    """Return a command line that runs `volumehealth` so.

    Args:
        arguments: of `volumehealth`.
        user: whose process it is.
        server: URL of the API server.
        ca_file: its CA.
        token_file: the ServiceAccount's token.
        environment: all of it, but for what names the API server and the source.
    """
    host, _, port = server.removeprefix("https://").rpartition(":")
    variables = {
        "PYTHONPATH": "/mnt/source:/mnt/packages",
        "LD_LIBRARY_PATH": "/mnt/python/lib",  # a Python with a library of its own looks for it where it was built
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        **environment,
    }
    python = Path(sys.base_prefix)
    packages = next(path for path in site.getsitepackages() if path.endswith("-packages"))
    source = Path(volumehealth.__file__).parents[1]
    # Not every uid may look into a home directory, where Python, the packages and the source may be.
    binds = {"/mnt/python": python, "/mnt/packages": Path(packages), "/mnt/source": source}
    program = f"/mnt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    lines = [
        "mount -t tmpfs -o mode=755 none /mnt",
        *(f"mkdir {at} && mount --bind {shlex.quote(str(what))} {at}" for at, what in binds.items()),
        f"cat {shlex.quote(str(token_file))} > /mnt/token && cat {shlex.quote(str(ca_file))} > /mnt/ca",
        "mount -t tmpfs -o mode=755 none /run",
        f"mkdir -p {_SECRETS}",
        f"mv /mnt/token {_SECRETS}/token && mv /mnt/ca {_SECRETS}/ca.crt",
        f"chmod 644 {_SECRETS}/*",
        "mount -o remount,bind,ro /run",
        "mount -o remount,bind,ro /",
        "exec "
        + shlex.join(
            [
                "setpriv",
                f"--reuid={user.uid}",
                f"--regid={user.gid}",
                "--clear-groups",
                "--no-new-privs",
                "--inh-caps=-all",
                "--ambient-caps=-all",
                "--bounding-set=-all",
                "--pdeathsig=KILL",
                "env",
                "-i",
                *(f"{name}={value}" for name, value in variables.items()),
                program,
                "-P",
                "-m",
                "volumehealth",
                *arguments,
            ]
        ),
    ]
    return ("unshare", "--mount", "--propagation", "private", "sh", "-euc", "\n".join(lines))
