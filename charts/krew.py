"""The command for people as a plugin of kubectl that krew installs: an archive for each platform, and their manifest.

An archive holds the whole package and the libraries that the commands for people use, for each Python that is promised. It
leaves out what only operator, agents and `check` use, such as gRPC and Kopf: these commands say so there.
"""

import gzip
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from volumehealth import __version__

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
DIST = ROOT / "dist"
LEFT_OUT = frozenset(
    (
        *("apprise", "cloudevents", "deprecation", "grpcio", "iso8601", "jsonpatch", "kopf", "markdown"),
        *("prometheus-client", "protobuf", "python-json-logger"),
    )
)
"""Libraries of the operator and the agents."""
_PINNED = re.compile(r"^([a-z0-9-]+)==[^\n]*(?:\n[ \t][^\n]*)*", re.MULTILINE)
_LAUNCHER = """#!/usr/bin/env python3
# kubectl volumehealth: its libraries lie beside it.
import os
import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    sys.exit("kubectl volumehealth needs Python 3.11 to 3.14; python3 is " + sys.version.split()[0])
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
from volumehealth.cli.main import main

main()
"""


@dataclass(frozen=True, slots=True)
class Platform:
    """Where an archive is for.

    Attributes:
        os, arch: as krew names them.
        wheels: as uv names the platform.
    """

    os: str
    arch: str
    wheels: str

    @property
    def archive(self) -> str:
        """The archive's file name."""
        return f"kubectl-volumehealth_v{__version__}_{self.os}_{self.arch}.tar.gz"


PLATFORMS = (
    Platform("linux", "amd64", "x86_64-manylinux_2_28"),
    Platform("linux", "arm64", "aarch64-manylinux_2_28"),
    Platform("darwin", "amd64", "x86_64-apple-darwin"),
    Platform("darwin", "arm64", "aarch64-apple-darwin"),
)


def make(
    target: Path,
    wheel: Path,
    *,
    platforms: Iterable[Platform] = PLATFORMS,
    pythons: Sequence[str] = PYTHONS,
) -> Path:
    """Write the archives and their manifest.

    Args:
        target: the directory to write to.
        wheel: of the package.
        platforms: an archive is made for each of them.
        pythons: versions of Python that an archive works with.

    Returns:
        The manifest.

    Raises:
        subprocess.CalledProcessError: if a library cannot be had; uv has said why.
    """
    platforms = tuple(platforms)
    for platform in platforms:
        with tempfile.TemporaryDirectory() as scratch:
            home = Path(scratch) / "plugin"
            _fill(home, Path(scratch), wheel, platform, pythons)
            (target / platform.archive).write_bytes(_packed(home))
    manifest = target / "volumehealth.yaml"
    manifest.write_text(yaml.safe_dump(_manifest(target, platforms), sort_keys=False))
    return manifest


def requirements(lock: str) -> str:
    """Return the part of a lock file that the commands for people need, with its hashes."""
    return "\n".join(found[0] for found in _PINNED.finditer(lock) if found[1] not in LEFT_OUT) + "\n"


def _fill(home: Path, scratch: Path, wheel: Path, platform: Platform, pythons: Sequence[str]) -> None:
    wanted = scratch / "requirements.txt"
    wanted.write_text(requirements((ROOT / "requirements.lock").read_text()))
    for python in pythons:
        found = scratch / python
        command = (
            *(
                Path(sys.executable).with_name("uv"),
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--require-hashes",
            ),
            *("--only-binary", ":all:", "--python-platform", platform.wheels, "--python-version", python),
            *("--target", found, "-r", wanted),
        )
        subprocess.run(command, check=True)
        shutil.rmtree(found / "bin", ignore_errors=True)
        shutil.copytree(found, home / "lib", dirs_exist_ok=True)
    with zipfile.ZipFile(wheel) as package:
        package.extractall(home / "lib")  # noqa: S202 - made from this checkout
    launcher = home / "kubectl-volumehealth"
    launcher.write_text(_LAUNCHER)
    launcher.chmod(0o755)
    shutil.copy(ROOT / "LICENSE", home)


def _packed(home: Path) -> bytes:
    """Pack a directory so that the same files make the same archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(home.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.add(file, file.relative_to(home).as_posix(), filter=_of_nobody)
    return gzip.compress(packed.getvalue(), mtime=0)


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    return member.replace(mtime=0, uid=0, gid=0, uname="", gname="", deep=False)


def _manifest(target: Path, platforms: Sequence[Platform]) -> dict[str, object]:
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "volumehealth"},
        "spec": {
            "version": f"v{__version__}",
            "shortDescription": "Show which volumes are unhealthy, why, and what to do",
            "description": "What is wrong with the cluster's volumes, worst first, with the workloads and the next step;\n"
            "why a claim is judged as it is; what can be heard of each CSI driver. Needs Python 3.11 to 3.14.\n",
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": platform.os, "arch": platform.arch}},
                    "uri": f"https://RELEASES/{platform.archive}",
                    "sha256": hashlib.sha256((target / platform.archive).read_bytes()).hexdigest(),
                    "bin": "kubectl-volumehealth",
                }
                for platform in platforms
            ],
        },
    }


if __name__ == "__main__":
    make(DIST, next(DIST.glob("*.whl")))
