"""What the deployed roles allow: read from the manifests that people install."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from volumehealth.model.report import agent_lease_name

_MANIFESTS = Path(__file__).parent.parent.parent / "deploy"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role.

    Attributes:
        namespace: of the Role; empty for a ClusterRole.
        groups, resources, verbs: as in the role.
        names: `resourceNames`; none means all.
    """

    namespace: str
    groups: frozenset[str]
    resources: frozenset[str]
    verbs: frozenset[str]
    names: frozenset[str]

    def allows(self, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        """Tell whether it allows a request."""
        return (
            verb in self.verbs
            and group in self.groups
            and resource in self.resources
            and self.namespace in ("", namespace)
            and (not self.names or name in self.names)
        )


@cache
def rules_of(role: str, manifest: str) -> tuple[Rule, ...]:
    """Return the rules of the roles of one name.

    Args:
        role: its name.
        manifest: below `deploy/`.
    """
    documents = yaml.safe_load_all((_MANIFESTS / manifest).read_text(encoding="utf-8"))
    roles = [
        one
        for one in documents
        if one and one["kind"] in ("Role", "ClusterRole") and one["metadata"]["name"] == role
    ]
    assert roles, f"{manifest} has no role {role}"
    return tuple(_rule(one, rule) for one in roles for rule in one["rules"])


def _rule(role: Any, rule: Any) -> Rule:
    groups, resources, verbs, names = (
        frozenset(rule.get(name, ())) for name in ("apiGroups", "resources", "verbs", "resourceNames")
    )
    return Rule(role["metadata"].get("namespace", ""), groups, resources, verbs, names)


def agent_may(node: str, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
    """Tell whether an agent's deployed rights, and the policy of `deploy/agent/admission.yaml`, allow a request."""
    rules = rules_of("volumehealth-agent", "agent/rbac.yaml")
    own = name == {"volumehealthreports": node, "leases": agent_lease_name(node)}.get(resource, name)
    reads = verb in ("get", "list", "watch")
    return (own or reads) and any(rule.allows(verb, group, resource, namespace, name) for rule in rules)


def operator_may(verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
    """Tell whether the operator's deployed rights allow a request."""
    rules = rules_of("volumehealth-operator", "rbac.yaml")
    return any(rule.allows(verb, group, resource, namespace, name) for rule in rules)
