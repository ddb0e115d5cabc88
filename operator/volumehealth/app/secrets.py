"""Secrets for CSI 1.13's health calls, from mounted files: the operator has no right to read Secrets."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from volumehealth.model.masking import hide

log = logging.getLogger(__name__)

_NAMES = re.compile(
    r"(?:(?:user|name|id|host|server|endpoint|monitor|ur[li]|region|zone|domain|tenant|project|pool|namespace|protocol)s?"
    r"|address(?:es)?)$",
    re.IGNORECASE,
)
"""Ends of the keys whose values are names, such as `userID: kubernetes` of Ceph: masked everywhere, they would take the sense
out of sentences."""
_SECRETS = re.compile(r"secret|pass|pwd|token|key|cred", re.IGNORECASE)
"""What is in keys whose values are none, however they end (`VAULT_SECRET_ID`)."""
_ACCESS_KEY_ID = re.compile(r"access[_-]?key[_-]?id$", re.IGNORECASE)
"""End of the keys whose values are names all the same."""


class SecretFiles:
    """A directory with one file for each driver, named after it, holding a YAML or JSON map of strings.

    Args:
        directory: its path; empty means that no driver gets secrets.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory) if directory else None
        self._read: dict[str, tuple[int, Mapping[str, str]]] = {}

    def __call__(self, driver: str) -> Mapping[str, str]:
        """Return a driver's secrets; none if it has no file. A file that was replaced is read again."""
        if self._directory is None:
            return {}
        path = self._directory / driver
        try:
            changed = path.stat().st_mtime_ns
            known = self._read.get(driver)
            if known is None or known[0] != changed:
                known = self._read[driver] = (changed, _parse(path.read_text(encoding="utf-8")))
                # A driver that refuses one may say it in its error.
                hide(value for key, value in known[1].items() if not _is_name(key))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            # Never the error's own text: a parser quotes what it could not read.
            log.warning("secrets not readable", extra={"driver": driver, "error": type(error).__name__})
            return {}
        return known[1]


def _is_name(key: str) -> bool:
    return bool(_ACCESS_KEY_ID.search(key) or (_NAMES.search(key) and not _SECRETS.search(key)))


def _parse(text: str) -> Mapping[str, str]:
    import yaml  # most drivers take no secrets, and every agent would pay for it

    from volumehealth.policy.yamltext import load_texts

    try:
        # Every value is the text that is written: YAML's numbers, dates and truths would be other secrets (`0123`, `yes`).
        content = load_texts(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(type(error).__name__) from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError("no map of texts")
    return {str(key): value for key, value in content.items()}
