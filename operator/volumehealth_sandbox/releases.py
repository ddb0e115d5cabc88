"""Other releases of Kubernetes than the one that the sandbox runs: a go.mod for each, made from the published one.

The published go.mod replaces each staging module by a directory of its own tree, which a module does not carry; here each
is replaced by the staging module's release of the same number.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from volumehealth.errors import SandboxError

MODULE = "k8s.io/kubernetes"
_RELEASE = re.compile(r"v1\.\d+\.\d+")
_STAGING = re.compile(r"(k8s\.io/\S+) => \./staging/")


def release_module(version: str, home: Path, *, go: Path, environment: Mapping[str, str]) -> Path:
    """Write the go.mod of a release.

    Args:
        version: such as `v1.30.14`.
        home: directory of directories; the release's is named after it.
        go: the toolchain; it downloads the published go.mod.
        environment: of the toolchain.

    Returns:
        The directory of the go.mod. There is no go.sum: the build makes it.

    Raises:
        SandboxError: if that is no release, or it cannot be downloaded.
    """
    if not _RELEASE.fullmatch(version):
        raise SandboxError(f"{version!r} is no release of Kubernetes such as v1.30.14")
    directory = home / f"kubernetes-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "go.mod").write_text(go_mod(version, _published(version, directory, go, environment)))
    return directory


def go_mod(version: str, published: str) -> str:
    """Return the text of a release's go.mod.

    Args:
        version: of the release.
        published: the go.mod that the release has itself.
    """
    staging = "v0" + version.removeprefix("v1")
    replaced = [f"\t{name} => {name} {staging}\n" for name in _STAGING.findall(published)]
    return (
        "module volumehealth.dev/sandbox/kubernetes\n\ngo 1.26.0\n\n"
        f"require {MODULE} {version}\n\nreplace (\n{''.join(replaced)})\n"
    )


def _published(version: str, directory: Path, go: Path, environment: Mapping[str, str]) -> str:
    settings = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(
        [go, "mod", "download", "-json", f"{MODULE}@{version}"],
        cwd=directory,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(f"{MODULE} {version} cannot be downloaded: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["GoMod"]).read_text()
