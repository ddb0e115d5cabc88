"""From the API's camelCase mappings to dataclasses, by their type hints: no code for single fields.

Fields that the dataclass does not have are skipped (a newer CRD may have them), null means not given, and whatever
does not fit is collected with its path while reading goes on.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from volumehealth.model.clock import LONG_AGO, parse_rfc3339
from volumehealth.model.policy import FieldError
from volumehealth.policy.durations import parse_duration

T = TypeVar("T")

_SCALARS: Mapping[type, str] = {str: "a string", bool: "true or false", int: "a whole number"}


def camel_case(name: str) -> str:
    """Turn `storage_class_names` into `storageClassNames`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def decode(kind: type[T], raw: object, path: str, faults: list[FieldError]) -> T:
    """Read a dataclass from what JSON or YAML gave.

    Args:
        kind: the dataclass; nested dataclasses, tuples, `Mapping[str, str]`, `X | None`, timedelta, datetime, str, bool, int.
        raw: normally a mapping.
        path: where it stands, such as `spec`; faults are told below it.
        faults: takes every fault found; if there are any the returned value must not be used.
    """
    if not isinstance(raw, Mapping):
        faults.append(FieldError(path, "must be an object with fields"))
        raw = {}
    values = {
        spec.name: _field(
            spec, hint, raw.get(camel_case(spec.name)), f"{path}.{camel_case(spec.name)}", faults
        )
        for spec, hint in _fields(kind)
    }
    return kind(**values)


def unknown_fields(kind: type[Any], raw: object, path: str) -> Iterator[FieldError]:
    """Find fields that a dataclass does not have, nor what is nested in it; the nearest one that it has is named."""
    if not isinstance(raw, Mapping):
        return
    known = {camel_case(spec.name): hint for spec, hint in _fields(kind)}
    for name, value in raw.items():
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            words = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
            yield FieldError(f"{path}.{name}", f"there is no such field{words}")
            continue
        hint, parts = known[name], [(f"{path}.{name}", value)]
        if get_origin(hint) in (types.UnionType, Union):
            hint = get_args(hint)[0]
        if get_origin(hint) is tuple:
            hint = get_args(hint)[0]
            items = value if isinstance(value, list) else ()
            parts = [(f"{path}.{name}[{index}]", item) for index, item in enumerate(items)]
        if is_dataclass(hint) and isinstance(hint, type):
            for where, part in parts:
                yield from unknown_fields(hint, part, where)


def _fields(kind: type[Any]) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(kind)
    return tuple((spec, hints[spec.name]) for spec in fields(kind))


def _field(spec: Field[Any], hint: Any, raw: object, path: str, faults: list[FieldError]) -> Any:
    if raw is not None:
        return _value(hint, raw, path, faults)
    if spec.default is not MISSING:
        return spec.default
    if spec.default_factory is not MISSING:
        return spec.default_factory()
    faults.append(FieldError(path, "is required"))
    return hint()


def _value(hint: Any, raw: object, path: str, faults: list[FieldError]) -> Any:
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):  # X | None, and null was sorted out before
        return _value(get_args(hint)[0], raw, path, faults)
    if origin is tuple:
        return _items(get_args(hint)[0], raw, path, faults)
    if origin is not None and issubclass(origin, Mapping):
        return _strings(raw, path, faults)
    if is_dataclass(hint):
        return decode(hint, raw, path, faults)  # type: ignore[arg-type]  # is_dataclass also narrows to instances
    if hint is timedelta:
        return _duration(raw, path, faults)
    if hint is datetime:
        return _moment(raw, path, faults)
    return _scalar(hint, raw, path, faults)


def _items(hint: Any, raw: object, path: str, faults: list[FieldError]) -> tuple[Any, ...]:
    if not isinstance(raw, (list, tuple)):
        faults.append(FieldError(path, "must be a list"))
        return ()
    return tuple(_value(hint, item, f"{path}[{index}]", faults) for index, item in enumerate(raw))


def _strings(raw: object, path: str, faults: list[FieldError]) -> Mapping[str, str]:
    if not isinstance(raw, Mapping):
        faults.append(FieldError(path, "must be an object with fields"))
        return {}
    if None in raw.values():
        faults.append(FieldError(path, 'every key needs a value; an empty one is written ""'))
        return {}
    return types.MappingProxyType(
        {str(key): _scalar(str, value, f"{path}[{key}]", faults) for key, value in raw.items()}
    )


def _duration(raw: object, path: str, faults: list[FieldError]) -> timedelta:
    try:
        return parse_duration(raw if isinstance(raw, str) else "")
    except ValueError as error:
        faults.append(FieldError(path, str(error)))
        return timedelta()


def _moment(raw: object, path: str, faults: list[FieldError]) -> datetime:
    if isinstance(raw, datetime):  # YAML knows times, JSON does not
        raw = (raw if raw.tzinfo is not None else raw.replace(tzinfo=UTC)).isoformat()
    try:
        return parse_rfc3339(raw if isinstance(raw, str) else "")
    except ValueError:
        faults.append(
            FieldError(path, "must be a time with a zone from 1970 to 2200, such as 2026-12-01T06:00:00Z")
        )
        return LONG_AGO


def _scalar(hint: type, raw: object, path: str, faults: list[FieldError]) -> Any:
    if type(raw) is hint:  # exactly: for Python a bool is an int
        return raw
    faults.append(FieldError(path, f"must be {_SCALARS[hint]}"))
    return hint()
