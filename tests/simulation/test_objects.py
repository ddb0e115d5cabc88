"""Which fields of an object another one changes: as the definition says it, field by field."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from simulation.objects import changed_leaves, gone_leaves, leaves, merge_patched, value_at

SCALARS = st.integers(0, 2) | st.sampled_from(["", "a"]) | st.lists(st.integers(0, 1), max_size=2)
OBJECTS = st.recursive(SCALARS, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
MAPS = st.dictionaries(st.sampled_from("abc"), OBJECTS, max_size=3)


@given(MAPS, MAPS)
def test_a_field_is_changed_if_it_is_another_or_was_not_there(old: Any, new: Any) -> None:
    changed = {path for path in leaves(new) if value_at(new, path) != value_at(old, path)}
    assert set(changed_leaves(new, old)) == changed


@given(MAPS, MAPS)
def test_a_field_is_gone_if_it_is_not_there_any_more(old: Any, new: Any) -> None:
    gone = {path for path in leaves(old) if value_at(new, path) is None}
    assert set(gone_leaves(old, new)) == gone


@given(MAPS, MAPS)
def test_what_a_patch_leaves_alone_is_neither_changed_nor_gone(old: Any, patch: Any) -> None:
    new = merge_patched(old, patch)
    touched = {path[0] for path in (*changed_leaves(new, old), *gone_leaves(old, new)) if path}
    assert touched <= set(patch)
