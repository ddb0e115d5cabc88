"""The product's image, built from the shipped Dockerfile on a machine that reaches no image registry.

The base image that the Dockerfile names cannot be pulled, so a base made of Debian's packages takes its name. The
Dockerfile itself is built unmodified. The base and the finished archive are cached by what they are made of.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from volumehealth import __version__
from volumehealth.errors import SandboxError
from volumehealth_sandbox.build import run_telling
from volumehealth_sandbox.locks import locked
from volumehealth_sandbox.node_mounts import overlay_works
from volumehealth_sandbox.tools import Say, cache_directory

PACKAGES = "mmdebstrap buildah"
"""Debian's names of what must be installed."""
NAME = f"volumehealth:{__version__}"
"""The image's name in `deploy/`."""
_PROGRAMS = ("mmdebstrap", "buildah")
_REGISTRY = "docker.io/library"
"""Where a name without a registry belongs, for containerd and for buildah."""
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
# The one difference that the Dockerfile would see: Debian calls the interpreter python3.
_BASE_HOOKS = ('--customize-hook=ln -s /usr/bin/python3 "$1/usr/local/bin/python"',)
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PIP_CONFIG = Path("/etc/pip.conf")
_STORAGE_AT_MOST = 6 * 1024**3
"""Bytes of cached layers; above that the next build starts from nothing."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is built from.

    Attributes:
        name: of the image, with its tag.
        root: directory of the build.
        dockerfile: its instructions.
        ignore: says which of the files below `root` take part; only patterns after `!` are read.
    """

    name: str
    root: Path
    dockerfile: Path
    ignore: Path


def product(root: Path) -> Recipe:
    """Describe the shipped image of a checkout.

    Raises:
        SandboxError: if the directory is no checkout.
    """
    recipe = Recipe(NAME, root, root / "Dockerfile", root / ".dockerignore")
    if not recipe.dockerfile.is_file():
        raise SandboxError(f"{root} has no Dockerfile: the image is built from a checkout of the repository")
    return recipe


def obstacles() -> list[str]:
    """Say why no image can be built here, one reason an entry; empty if it can."""
    if os.geteuid() != 0:
        return ["only root can build the image"]
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    return [f"missing: {', '.join(missing)} (Debian: apt-get install {PACKAGES})"] if missing else []


def build_image(recipe: Recipe, say: Say, *, environment: Mapping[str, str] = os.environ) -> Path:
    """Build an image, unless it was built before from the same files.

    Args:
        recipe: what to build.
        say: is told what is done and how long it may take; nothing is said if the image is there.
        environment: instead of the process's own.

    Returns:
        The path of an archive as `docker save` writes it.

    Raises:
        SandboxError: if it cannot be built; the message holds the end of the build's output.
    """
    cache = cache_directory(environment) / "images"
    base = _Base(platform.freedesktop_os_release().get("VERSION_CODENAME", "stable"))
    short = recipe.name.replace(":", "-")
    target = cache / f"{short}-{content_hash(recipe, base.key)}.tar"
    if target.exists():
        return target
    if reasons := obstacles():
        raise SandboxError(f"the image cannot be built here: {'; '.join(reasons)}")
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock", lambda: say("Another process builds the image; waiting for it.")):
        if not target.exists():
            _Builder(cache, base, say, environment).build(recipe, target)
            for older in set(cache.glob(f"{short}-*.tar")) - {target}:
                older.unlink()
    return target


def content_hash(recipe: Recipe, base: str) -> str:
    """Hash everything that an image is made of: its base, its instructions and its files."""
    digest = hashlib.sha256(f"{recipe.name} {base}".encode())
    for path in (recipe.dockerfile, *sorted(context_files(recipe))):
        digest.update(f"\0{path.relative_to(recipe.root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def context_files(recipe: Recipe) -> Iterator[Path]:
    """Find the files that take part in a build.

    Raises:
        SandboxError: if the ignore file does not start by leaving out everything; no other form is understood.
    """
    lines = [line.strip() for line in recipe.ignore.read_text().splitlines()]
    if "*" not in lines:
        raise SandboxError(
            f"{recipe.ignore} must leave out everything (*) and then name what takes part (!path)"
        )
    for line in lines:
        if line.startswith("!"):
            path = recipe.root / line[1:]
            found = path.rglob("*") if path.is_dir() else [path]
            yield from (one for one in found if one.is_file() and "__pycache__" not in one.parts)


def base_names(dockerfile: str) -> set[str]:
    """Read from a Dockerfile which images it starts from, without its own stages."""
    lines = re.findall(
        r"^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", dockerfile, re.MULTILINE | re.IGNORECASE
    )
    stages = {stage for _, stage in lines}
    return {name for name, _ in lines if name not in stages}


@dataclass(frozen=True, slots=True)
class _Base:
    """The base image: a minimal system of the machine's own Debian release, with Python."""

    suite: str

    @property
    def key(self) -> str:
        text = " ".join((self.suite, _BASE_PACKAGES, *_BASE_HOOKS))
        return f"{self.suite}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class _Builder:
    cache: Path
    base: _Base
    say: Say
    environment: Mapping[str, str]

    def build(self, recipe: Recipe, target: Path) -> None:
        self._bound_storage()
        for name in sorted(base_names(recipe.dockerfile.read_text())):
            if not self._has(_full(name)):
                self._name_base(_full(name))
        self.say(
            f"Building {recipe.name} from its Dockerfile, 2 minutes on two cores, half a minute if little changed."
        )
        self._run(f"building {recipe.name}", *self._build_command(recipe))
        fresh = target.with_name(f".{target.name}")
        fresh.unlink(missing_ok=True)
        self._run(
            f"writing {target.name}",
            "push",
            "--quiet",
            _full(recipe.name),
            f"docker-archive:{fresh}:{_full(recipe.name)}",
        )
        fresh.replace(target)

    def _build_command(self, recipe: Recipe) -> list[str]:
        # The build trusts what this machine trusts, and finds packages where it finds them.
        volumes = [f"--volume={file}:{file}:ro" for file in (_CA_BUNDLE, _PIP_CONFIG) if file.exists()]
        return [
            "build",
            "--pull-never",
            "--layers",
            *volumes,
            f"--ignorefile={recipe.ignore}",
            f"--file={recipe.dockerfile}",
            f"--tag={_full(recipe.name)}",
            str(recipe.root),
        ]

    def _name_base(self, name: str) -> None:
        archive = self._base_archive()
        container = self._ask("from", "scratch")
        try:
            self._run("unpacking the base image", "add", "--quiet", container, str(archive), "/")
            self._run(f"naming it {name}", "commit", "--quiet", container, name)
        finally:
            self._ask("rm", container)

    def _base_archive(self) -> Path:
        target = self.cache / f"base-{self.base.key}.tar"
        if target.exists():
            return target
        self.say(f"Making a base image of Debian's packages ({self.base.suite}), about a minute, once.")
        with tempfile.TemporaryDirectory(prefix=".base-", dir=self.cache) as scratch:
            fresh = Path(scratch, "base.tar")
            command = [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={_BASE_PACKAGES}",
                '--aptopt=Acquire::Retries "3"',
                *_BASE_HOOKS,
                self.base.suite,
                str(fresh),
            ]
            self._tell("making the base image", command)
            fresh.replace(target)
        return target

    # Buildah.

    @property
    def _storage(self) -> Path:
        return self.cache / f"layers-{self.base.key}"

    def _bound_storage(self) -> None:
        """Start from nothing once many builds have left more layers than one would keep."""
        layers = (path for path in self._storage.rglob("*") if path.is_file() and not path.is_symlink())
        if sum(path.lstat().st_size for path in layers) > _STORAGE_AT_MOST:
            self._ask("rmi", "--all", "--force")

    def _has(self, image: str) -> bool:
        done = subprocess.run(
            self._command("inspect", "--type=image", image),
            capture_output=True,
            timeout=60,
            check=False,
            env=self._variables(),
        )
        return done.returncode == 0

    def _ask(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=self._variables(),
        )
        if done.returncode != 0:
            raise SandboxError(f"buildah {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _run(self, title: str, *arguments: str) -> None:
        self._tell(title, self._command(*arguments))

    def _tell(self, title: str, command: list[str]) -> None:
        log = self.cache / ".output"
        run_telling(command, self.say, title=title, log=log, cwd=self.cache, environment=self._variables())

    def _command(self, *arguments: str) -> list[str]:
        return ["buildah", f"--root={self._storage}", f"--runroot={self._storage}/run", *arguments]

    def _variables(self) -> dict[str, str]:
        driver = "overlay" if overlay_works(self.cache) else "vfs"
        return {**self.environment, "STORAGE_DRIVER": driver, "BUILDAH_ISOLATION": "chroot"}


def _full(name: str) -> str:
    """Give an image's name as containerd and buildah write it."""
    return name if "/" in name else f"{_REGISTRY}/{name}"
