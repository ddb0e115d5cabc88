"""Reads a VolumeHealthPolicy from a file."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from volumehealth.errors import InvalidSpec
from volumehealth.model.policy import FieldError, Policy, PolicySpec
from volumehealth.model.vocabulary import API_VERSION, GROUP, POLICY_KIND
from volumehealth.policy.decode import unknown_fields
from volumehealth.policy.parse import parse_policy
from volumehealth.policy.yamltext import Values


def policy_from_file(path: Path) -> Policy:
    """Read the one VolumeHealthPolicy in a YAML or JSON file.

    Raises:
        InvalidSpec: if the file cannot be read, is no YAML, does not hold exactly one VolumeHealthPolicy, or its
            spec cannot be used or has fields that there are not: nobody prunes them and warns, as the API server does, and a
            selector that is misspelt would select everything. The path of a fault of the file is the file's name.
    """
    try:
        text = path.read_text(encoding="utf-8")
        documents = [one for one in yaml.load_all(text, Loader=Values) if one is not None]
    except OSError as error:
        raise _file_fault(path, f"cannot be read: {error.strerror}") from error
    except (
        ValueError,
        RecursionError,
        yaml.YAMLError,
    ) as error:  # such as 30 February, or a number without an end
        raise _file_fault(path, f"is not YAML: {' '.join(str(error).split())}") from error
    if len(documents) != 1:
        raise _file_fault(path, f"must hold exactly one {POLICY_KIND}, but holds {len(documents)} objects")
    document = documents[0] if isinstance(documents[0], Mapping) else {}
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != POLICY_KIND or not str(version).startswith(f"{GROUP}/"):
        raise _file_fault(path, f"must hold a {POLICY_KIND} of {API_VERSION}, but holds {kind} of {version}")
    if version != API_VERSION:
        raise _file_fault(path, f"holds version {version}, but this program reads {API_VERSION}")
    unknown = list(unknown_fields(PolicySpec, document.get("spec"), "spec"))
    if unknown:
        raise InvalidSpec(unknown)
    return parse_policy(document)


def _file_fault(path: Path, message: str) -> InvalidSpec:
    return InvalidSpec([FieldError(str(path), message)])
