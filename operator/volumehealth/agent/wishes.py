"""Whether a volume is meant to be read-only, as people and drivers write it down; pure."""

import re
from collections.abc import Iterable, Mapping

_WORDS = frozenset({"ro", "read-only", "readonly", "rdonly", "read_only"})
_YES = frozenset({"true", "1", "yes", "on"})
_OPTIONS = re.compile(r"mount-?_?(?:options|flags)|options|flags", re.IGNORECASE)
_SWITCH = re.compile(r"(?:is)?read[-_]?only", re.IGNORECASE)


def wants_read_only(options: Iterable[str], attributes: Mapping[str, str]) -> bool:
    """Tell whether a PersistentVolume asks for a mount that takes no writes.

    Args:
        options: `spec.mountOptions`; one entry may hold several, joined by commas.
        attributes: `spec.csi.volumeAttributes`, where some drivers take options of their own.
    """
    if any(_says_so(one) for one in options):
        return True
    for name, value in attributes.items():
        if _SWITCH.fullmatch(name) and value.strip().lower() in _YES:
            return True
        if _OPTIONS.fullmatch(name) and _says_so(value):
            return True
    return False


def _says_so(options: str) -> bool:
    words = re.split(r"[,\s]+", options.lower())
    return any(word == "-r" or word.lstrip("-").removesuffix("=true") in _WORDS for word in words)
