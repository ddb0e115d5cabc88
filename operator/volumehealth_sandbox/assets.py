"""Files that users install, as they are in the repository."""

from pathlib import Path

from volumehealth.errors import SandboxError

_REPOSITORY = Path(__file__).parents[2]


def asset(name: str) -> Path:
    """Find one of the directories `crds`, `deploy` and `examples`.

    Raises:
        SandboxError: if it is not there: the sandbox runs from a checkout of the repository.
    """
    home = _REPOSITORY / name
    if not home.is_dir():
        raise SandboxError(
            f"the directory {name}/ is missing: the sandbox runs from a checkout of the repository"
        )
    return home


def checkout() -> Path:
    """Name the directory of the checkout that the sandbox runs from."""
    return _REPOSITORY
