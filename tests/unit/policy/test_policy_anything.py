"""Whatever is in an object, reading it ends in a policy or in InvalidSpec with paths, never in a crash."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from volumehealth.errors import InvalidSpec
from volumehealth.model.policy import FieldError
from volumehealth.policy.parse import parse_policy

NAMES = st.sampled_from(
    [
        "priority",
        "selector",
        "drivers",
        "claimSelector",
        "matchLabels",
        "matchExpressions",
        "key",
        "values",
        "interval",
        "checks",
        "capacity",
        "warningPercentFree",
        "rules",
        "match",
        "message",
        "set",
        "status",
        "ignore",
        "other",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5s", "(", "In"])
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4)
)


def shaped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return specs that have the right outline, with anything inside."""
    match = st.fixed_dictionaries({}, optional={"message": inner, "source": inner})
    rule = st.fixed_dictionaries({}, optional={"match": match | inner, "set": inner, "ignore": inner})
    expression = st.fixed_dictionaries({}, optional={"key": inner, "operator": inner, "values": inner})
    labels = st.fixed_dictionaries(
        {}, optional={"matchExpressions": st.lists(expression | inner), "matchLabels": inner}
    )
    selector = st.fixed_dictionaries({}, optional={"drivers": inner, "claimSelector": labels})
    return st.fixed_dictionaries(
        {}, optional={"rules": st.lists(rule | inner), "selector": selector, "interval": inner}
    )


@given(st.dictionaries(NAMES, JSON) | shaped(JSON), JSON)
def test_reading_ends_in_a_policy_or_in_faults_with_paths(spec: Any, metadata: Any) -> None:
    faults = faults_of({"metadata": metadata, "spec": spec})
    assert faults is None or len(faults) > 0
    assert all(fault.path.startswith(("spec", "metadata")) and fault.message for fault in faults or ())


def faults_of(raw: dict[str, Any]) -> tuple[FieldError, ...] | None:
    try:
        parse_policy(raw)
    except InvalidSpec as error:
        return error.errors
    return None
