"""The image of the real node's containers, made by hand: one static program in a tar, and no registry."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

from volumehealth.errors import SandboxError
from volumehealth_sandbox.build import go_toolchain
from volumehealth_sandbox.tools import Say, cache_directory, machine

_SOURCE = Path(__file__).with_name("workload")
_BUILD_WITHIN = 300.0
_EVERYBODY_RUNS = 0o755


def build_workload(target: Path, say: Say) -> Path:
    """Build the program that runs in every container, in a second or two; returns `target`.

    Raises:
        SandboxError: if it cannot be built.
    """
    go = go_toolchain(say, cache=cache_directory(), environment=os.environ)
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    done = subprocess.run(
        [go, "build", "-trimpath", "-ldflags=-s -w", "-o", target, "."],
        cwd=_SOURCE,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=_BUILD_WITHIN,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(f"building the workload failed:\n{done.stderr[-3000:]}")
    return target


def write_image(target: Path, program: Path, *, name: str) -> Path:
    """Write an image as `docker save` would; returns `target`.

    Args:
        target: the tar file.
        program: a static program, the image's entry point.
        name: of the image, with its tag.
    """
    layer = _tar({"workload": program.read_bytes()})
    architecture = machine().partition("-")[2]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/workload"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer,
        "manifest.json": json.dumps(manifest).encode(),
    }
    target.write_bytes(_tar(files))
    return target


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), _EVERYBODY_RUNS
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
