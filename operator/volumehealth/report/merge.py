"""RFC 7386 merge patches. Pure."""

from collections.abc import Mapping
from typing import Any


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Write a patch that makes `new` of `old`: all of `new`, and null for what is there no more."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            patch[name] = merge_patch(before, value)
        else:
            patch[name] = value
    return patch


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Write a patch that makes `new` of `old` and has nothing that is equal in both."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if value == before:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            patch[name] = difference(before, value)
        else:
            patch[name] = value
    return patch


def union(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return all fields of both; `new` counts where both have one."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[name] = union(before, value)
        else:
            merged[name] = value
    return merged
