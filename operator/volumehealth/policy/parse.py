"""Reads VolumeHealthPolicy objects."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from volumehealth.errors import InvalidSpec
from volumehealth.model.clock import LONG_AGO, parse_rfc3339
from volumehealth.model.policy import FieldError, Policy, PolicySpec
from volumehealth.policy.checks import check_name, check_spec
from volumehealth.policy.decode import decode


def parse_policy(raw: Mapping[str, Any]) -> Policy:
    """Read a policy as the API server hands it out.

    Args:
        raw: the object, with `metadata` and `spec`. Unknown fields are skipped: the CRD may be newer than we are.
            `uid`, `generation` and `creationTimestamp` may be missing, as they are in a file.

    Raises:
        InvalidSpec: with every fault and its path, such as `spec.rules[2].match.message`.
    """
    faults: list[FieldError] = []
    metadata = _mapping(raw.get("metadata"))
    name = str(metadata.get("name") or "")
    spec = _spec(raw.get("spec"), faults)
    unreadable = tuple(fault.path for fault in faults)
    faults.extend(
        fault for fault in (*check_name(name), *check_spec(spec)) if not _within(fault.path, unreadable)
    )
    created = _created(metadata.get("creationTimestamp"), faults)
    if faults:
        raise InvalidSpec(faults)
    generation = metadata.get("generation")
    return Policy(
        name=name,
        uid=str(metadata.get("uid") or ""),
        generation=generation if isinstance(generation, int) else 0,
        created=created,
        spec=spec,
    )


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _created(raw: object, faults: list[FieldError]) -> datetime:
    """Read the creation time; a policy from a file has none, which counts as the oldest."""
    if not isinstance(raw, str):
        return LONG_AGO
    try:
        return parse_rfc3339(raw)
    except ValueError as error:
        faults.append(FieldError("metadata.creationTimestamp", str(error)))
        return LONG_AGO


def _spec(raw: object, faults: list[FieldError]) -> PolicySpec:
    if raw is None:
        faults.append(FieldError("spec", "is required; spec: {} watches every bound CSI claim"))
        return PolicySpec()
    _refuse_empty(raw, faults)
    return decode(PolicySpec, raw, "spec", faults)


def _refuse_empty(raw: object, faults: list[FieldError]) -> None:
    """Find empty values that select: once decoded they cannot be told from fields that were left out."""
    selector = _mapping(_mapping(raw).get("selector"))
    for field, what, every in (
        ("drivers", "driver", "driver"),
        ("storageClassNames", "storage class", "class"),
    ):
        if selector.get(field) == []:
            message = (
                f"name at least one {what}, or leave the field out to select the claims of every {every}"
            )
            faults.append(FieldError(f"spec.selector.{field}", message))
    rules = _mapping(raw).get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        for part in ("match", "set"):
            for field, value in _mapping(_mapping(rule).get(part)).items():
                if value == "":
                    message = "must not be empty; leave the field out instead"
                    faults.append(FieldError(f"spec.rules[{index}].{part}.{field}", message))


def _within(path: str, others: Sequence[str]) -> bool:
    """Whether a path is one of the others or below it: its fault would only repeat theirs."""
    return any(path == other or path.startswith((f"{other}.", f"{other}[")) for other in others)
