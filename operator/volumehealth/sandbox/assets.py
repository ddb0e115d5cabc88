"""Files that users install, found in an installed package as well as in the repository."""

from pathlib import Path

from volumehealth.errors import SandboxError

_PACKAGE = Path(__file__).parents[1]
_REPOSITORY = Path(__file__).parents[3]


def asset(name: str) -> Path:
    """Find one of the directories `crds`, `deploy` and `examples`.

    A wheel carries them inside the package; a checkout has them at its root.

    Raises:
        SandboxError: if it is in neither place.
    """
    for home in (_PACKAGE, _REPOSITORY):
        if (home / name).is_dir():
            return home / name
    raise SandboxError(f"the directory {name}/ is missing from this installation of volumehealth")
