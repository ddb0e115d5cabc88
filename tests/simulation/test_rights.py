"""The simulated API server grants what the deployed roles grant, and no more."""

import pytest

from simulation.rights import agent_may, operator_may

RECORDS = ("volumehealth.dev", "volumehealths")


@pytest.mark.parametrize("verb", ["list", "watch", "create", "patch", "delete"])
def test_the_operator_keeps_records(verb: str) -> None:
    assert operator_may(verb, *RECORDS, "shop", "data-0")


@pytest.mark.parametrize(
    ("verb", "group", "resource", "namespace", "name"),
    [
        ("list", "", "secrets", "shop", ""),
        ("patch", "", "persistentvolumeclaims", "shop", "data-0"),
        ("update", *RECORDS, "shop", "data-0"),
        ("patch", "volumehealth.dev", "volumehealthpolicies", "", "policy-0"),
        ("get", "coordination.k8s.io", "leases", "shop", "volumehealth-operator"),
        ("update", "coordination.k8s.io", "leases", "volumehealth-system", "another"),
    ],
)
def test_what_no_role_grants_is_refused(
    verb: str, group: str, resource: str, namespace: str, name: str
) -> None:
    assert not operator_may(verb, group, resource, namespace, name)


@pytest.mark.parametrize(
    ("allowed", "verb", "group", "resource", "namespace", "name"),
    [
        (True, "patch", "volumehealth.dev", "volumehealthreports", "", "node-0"),
        (False, "patch", "volumehealth.dev", "volumehealthreports", "", "node-1"),
        (True, "patch", "coordination.k8s.io", "leases", "volumehealth-system", "volumehealth-agent-node-0"),
        (False, "patch", "coordination.k8s.io", "leases", "volumehealth-system", "volumehealth-agent-node-1"),
        (False, "patch", "coordination.k8s.io", "leases", "shop", "volumehealth-agent-node-0"),
        (False, "delete", "volumehealth.dev", "volumehealthreports", "", "node-0"),
        (False, "list", "", "persistentvolumes", "", ""),
    ],
)
def test_an_agent_writes_what_is_its_nodes_and_reads_little(
    allowed: bool, verb: str, group: str, resource: str, namespace: str, name: str
) -> None:
    assert agent_may("node-0", verb, group, resource, namespace, name) is allowed
