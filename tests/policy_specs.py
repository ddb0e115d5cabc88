"""Specs that must be refused, and specs that must not: for the API server and for our own reader alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DURATION = "must be a duration such as 90s, 2m or 1h30m: whole numbers of h, m, s and ms, in that order"
_DRIVER = "must be the name of a CSI driver such as hostpath.csi.k8s.io"
_CLASS = "must be the name of a StorageClass: lower case letters, digits, '-' and '.'"
_KEY = "must be a label key such as team or example.com/team"
_KEYS = "every key must be a label key such as team or example.com/team"
_VALUE = "must be a label value: letters, digits, '-', '_' and '.', with a letter or digit at both ends"
_RE2 = "must be a regular expression in RE2 syntax, which has no lookaround and no backreferences"
_NOTHING = "a rule must do something: give ignore: true, set or unhealthyAfter"
_IGNORED = "a rule with ignore: true cannot have set or unhealthyAfter as well"
_MATCH = "match must say which statements the rule is for"
_CAPACITY = "warningPercentFree must be greater than criticalPercentFree, which is 3 if it is not given"


@dataclass(frozen=True)
class Refused:
    """A bad spec, where it is bad, and what the API server says; `ours` if our reader words it differently."""

    spec: Any
    path: str
    says: str
    ours: str = ""


def _rule(**rule: Any) -> dict[str, Any]:
    return {"rules": [{"match": {"message": "bad"}, "ignore": True} | rule]}


def _match(**match: Any) -> dict[str, Any]:
    return {"rules": [{"match": match, "ignore": True}]}


def _claims(*expressions: Any, **labels: str) -> dict[str, Any]:
    return {"selector": {"claimSelector": {"matchLabels": labels, "matchExpressions": list(expressions)}}}


_MATCH_AT = "spec.rules[0].match"
_EXPRESSION_AT = "spec.selector.claimSelector.matchExpressions[0]"

REFUSED: Mapping[str, Refused] = {
    # The spec itself
    "no spec at all": Refused(None, "spec", "Required value", "is required"),
    "a spec that is a list": Refused([], "spec", "must be of type object", "must be an object"),
    # Durations
    "an interval too short for any driver": Refused(
        {"interval": "1s"}, "spec.interval", "must be from 5s to 24h"
    ),
    "an interval just too short": Refused({"interval": "4999ms"}, "spec.interval", "must be from 5s to 24h"),
    "an interval of more than a day": Refused({"interval": "25h"}, "spec.interval", "must be from 5s to 24h"),
    "a duration that is a bare number": Refused({"interval": "60"}, "spec.interval", _DURATION),
    "a duration that is a YAML number": Refused(
        {"interval": 60}, "spec.interval", "must be of type string", _DURATION
    ),
    "a duration in days": Refused({"interval": "1d"}, "spec.interval", _DURATION),
    "a duration in words": Refused({"interval": "1 minute"}, "spec.interval", _DURATION),
    "an ISO 8601 duration": Refused({"interval": "PT1M"}, "spec.interval", _DURATION),
    "a duration with a fraction": Refused({"interval": "1.5m"}, "spec.interval", _DURATION),
    "a duration in upper case": Refused({"interval": "1M"}, "spec.interval", _DURATION),
    "a duration with its units in the wrong order": Refused(
        {"interval": "30s1m"}, "spec.interval", _DURATION
    ),
    "a duration with a blank": Refused({"interval": "1m "}, "spec.interval", _DURATION),
    "a duration with a line break": Refused({"interval": "1m\n"}, "spec.interval", _DURATION),
    "an empty duration": Refused({"interval": ""}, "spec.interval", _DURATION),
    "a negative duration": Refused({"unhealthyAfter": "-1m"}, "spec.unhealthyAfter", _DURATION),
    "a duration in Arabic digits": Refused({"interval": "\u0661\u0660s"}, "spec.interval", _DURATION),
    "a duration beyond all counting": Refused({"interval": "9" * 20 + "h"}, "spec.interval", _DURATION),
    "a duration that overflows a counter": Refused(
        {"healthyAfter": "999999h999999m999999s"}, "spec.healthyAfter", "must be from 0s to 168h"
    ),
    "no timeout": Refused({"timeout": "0s"}, "spec.timeout", "must be from 1s to 5m"),
    "a timeout of an hour": Refused({"timeout": "1h"}, "spec.timeout", "must be from 1s to 5m"),
    "belief after more than a week": Refused(
        {"unhealthyAfter": "169h"}, "spec.unhealthyAfter", "must be from 0s to 168h"
    ),
    "clearance after more than a week": Refused(
        {"healthyAfter": "168h1ms"}, "spec.healthyAfter", "must be from 0s to 168h"
    ),
    "reminders later than an Event lives": Refused(
        {"events": {"remindEvery": "1h"}}, "spec.events.remindEvery", "must be from 1m to 55m"
    ),
    "reminders every second": Refused(
        {"events": {"remindEvery": "1s"}}, "spec.events.remindEvery", "must be from 1m to 55m"
    ),
    "records kept for more than a year": Refused(
        {"recordRetention": "8761h"}, "spec.recordRetention", "must be from 1h to 8760h"
    ),
    "a node failure at once": Refused(
        {"checks": {"nodeFailure": {"after": "0s"}}},
        "spec.checks.nodeFailure.after",
        "must be from 1s to 24h",
    ),
    # Scalars
    "a priority beyond its range": Refused(
        {"priority": 1_000_001},
        "spec.priority",
        "should be less than or equal to 1000000",
        "must be from -1000000 to",
    ),
    "a priority with a fraction": Refused(
        {"priority": 1.5}, "spec.priority", "must be of type integer", "must be a whole number"
    ),
    "a priority in quotes": Refused(
        {"priority": "1"}, "spec.priority", "must be of type integer", "must be a whole"
    ),
    "suspend in quotes": Refused(
        {"suspend": "yes"}, "spec.suspend", "must be of type boolean", "must be true or false"
    ),
    "a pause without an end": Refused(
        {"suspendUntil": "9999-12-31T23:59:59Z"},
        "spec.suspendUntil",
        "must be a time with a zone from 1970 to 2200",
    ),
    "a pause until the beginning of all time": Refused(
        {"suspendUntil": "0001-01-01T00:00:00Z"},
        "spec.suspendUntil",
        "must be a time with a zone from 1970 to 2200",
    ),
    "a pause until a day": Refused(
        {"suspendUntil": "2026-12-01"},
        "spec.suspendUntil",
        "must be of type date-time",
        "must be a time with a zone",
    ),
    "a pause until a time without a zone": Refused(
        {"suspendUntil": "2026-12-01T06:00:00"},
        "spec.suspendUntil",
        "must be of type date-time",
        "must be a time with a zone",
    ),
    "a check that is a switch": Refused(
        {"checks": {"controller": False}},
        "spec.checks.controller",
        "must be of type object",
        "must be an object",
    ),
    # Selector
    "no drivers in the list of drivers": Refused(
        {"selector": {"drivers": []}},
        "spec.selector.drivers",
        "name at least one driver, or leave the field out",
    ),
    "one driver without a list": Refused(
        {"selector": {"drivers": "a.example"}},
        "spec.selector.drivers",
        "must be of type array",
        "must be a list",
    ),
    "a driver with a path": Refused(
        {"selector": {"drivers": ["a.example/x"]}}, "spec.selector.drivers[0]", _DRIVER
    ),
    "a driver with a pattern": Refused(
        {"selector": {"drivers": ["*.csi.k8s.io"]}}, "spec.selector.drivers[0]", _DRIVER
    ),
    "a driver with no name": Refused({"selector": {"drivers": [""]}}, "spec.selector.drivers[0]", _DRIVER),
    "a driver with a name too long": Refused(
        {"selector": {"drivers": ["d" * 64]}},
        "spec.selector.drivers[0]",
        "may not be more than 63",
        "63 characters",
    ),
    "a driver twice": Refused(
        {"selector": {"drivers": ["a.example", "b.example", "a.example"]}},
        "spec.selector.drivers[2]",
        'Duplicate value: "a.example"',
    ),
    "too many drivers": Refused(
        {"selector": {"drivers": [f"d{n}.example" for n in range(65)]}},
        "spec.selector.drivers",
        "must have at most 64 items",
        "must have 64 items at most",
    ),
    "no classes in the list of classes": Refused(
        {"selector": {"storageClassNames": []}},
        "spec.selector.storageClassNames",
        "name at least one storage class",
    ),
    "a class in upper case": Refused(
        {"selector": {"storageClassNames": ["Fast"]}}, "spec.selector.storageClassNames[0]", _CLASS
    ),
    "a class twice": Refused(
        {"selector": {"storageClassNames": ["fast", "fast"]}},
        "spec.selector.storageClassNames[1]",
        'Duplicate value: "fast"',
    ),
    "a label key with a blank": Refused(
        _claims(**{"my team": "a"}), "spec.selector.claimSelector.matchLabels", _KEYS
    ),
    "a label key with two slashes": Refused(
        _claims(**{"a/b/c": "a"}), "spec.selector.claimSelector.matchLabels", _KEYS
    ),
    "a label key with a name too long": Refused(
        _claims(**{"k" * 64: "a"}), "spec.selector.claimSelector.matchLabels", _KEYS
    ),
    "a label value with a slash": Refused(
        _claims(team="a/b"), "spec.selector.claimSelector.matchLabels[team]", _VALUE
    ),
    "a label value with a line break": Refused(
        _claims(team="a\n"), "spec.selector.claimSelector.matchLabels[team]", _VALUE
    ),
    "a label without a value": Refused(
        {"selector": {"claimSelector": {"matchLabels": {"team": None}}}},
        "spec.selector.claimSelector.matchLabels",
        "every key needs a value",
    ),
    "a label value too long": Refused(
        _claims(team="v" * 64),
        "spec.selector.claimSelector.matchLabels[team]",
        "may not be more than 63",
        "63 characters",
    ),
    "a namespace selector that is a string": Refused(
        {"selector": {"namespaceSelector": "shop"}},
        "spec.selector.namespaceSelector",
        "must be of type object",
        "must be an object",
    ),
    "a namespace label value that is a number": Refused(
        {"selector": {"namespaceSelector": {"matchLabels": {"tier": 1}}}},
        "spec.selector.namespaceSelector.matchLabels[tier]",
        "must be of type string",
        "must be a string",
    ),
    "an operator that does not exist": Refused(
        _claims({"key": "team", "operator": "Equals", "values": ["a"]}),
        f"{_EXPRESSION_AT}.operator",
        'supported values: "In", "NotIn", "Exists", "DoesNotExist"',
        "must be In, NotIn, Exists or DoesNotExist",
    ),
    "an operator in lower case": Refused(
        _claims({"key": "team", "operator": "in", "values": ["a"]}),
        f"{_EXPRESSION_AT}.operator",
        "supported values",
        "must be In, NotIn, Exists or DoesNotExist",
    ),
    "no operator": Refused(
        _claims({"key": "team"}), f"{_EXPRESSION_AT}.operator", "Required value", "is required"
    ),
    "no key": Refused(
        _claims({"operator": "Exists"}), f"{_EXPRESSION_AT}.key", "Required value", "is required"
    ),
    "a key that is none": Refused(_claims({"key": "-", "operator": "Exists"}), f"{_EXPRESSION_AT}.key", _KEY),
    "In without values": Refused(
        _claims({"key": "team", "operator": "In"}), _EXPRESSION_AT, "operators In and NotIn need values"
    ),
    "NotIn with no values in the list": Refused(
        _claims({"key": "team", "operator": "NotIn", "values": []}),
        _EXPRESSION_AT,
        "operators In and NotIn need values",
    ),
    "Exists with values": Refused(
        _claims({"key": "team", "operator": "Exists", "values": ["a"]}),
        _EXPRESSION_AT,
        "operators Exists and DoesNotExist take no values",
    ),
    "a value twice": Refused(
        _claims({"key": "team", "operator": "In", "values": ["a", "a"]}),
        f"{_EXPRESSION_AT}.values[1]",
        'Duplicate value: "a"',
    ),
    "a value that cannot be one": Refused(
        _claims({"key": "team", "operator": "In", "values": ["ok", "no way"]}),
        f"{_EXPRESSION_AT}.values[1]",
        _VALUE,
    ),
    # Capacity
    "nothing free is critical": Refused(
        {"checks": {"capacity": {"criticalPercentFree": 0}}},
        "spec.checks.capacity.criticalPercentFree",
        "should be greater than or equal to 1",
        "must be from 1 to 99",
    ),
    "all free is critical": Refused(
        {"checks": {"capacity": {"criticalPercentFree": 100}}},
        "spec.checks.capacity.criticalPercentFree",
        "should be less than or equal to 99",
        "must be from 1 to 99",
    ),
    "a percentage as text": Refused(
        {"checks": {"capacity": {"criticalPercentFree": "5%"}}},
        "spec.checks.capacity.criticalPercentFree",
        "must be of type integer",
        "must be a whole number",
    ),
    "a warning later than the alarm": Refused(
        {"checks": {"capacity": {"criticalPercentFree": 10, "warningPercentFree": 5}}},
        "spec.checks.capacity",
        _CAPACITY,
    ),
    "a warning together with the alarm": Refused(
        {"checks": {"capacity": {"criticalPercentFree": 10, "warningPercentFree": 10}}},
        "spec.checks.capacity",
        _CAPACITY,
    ),
    "a warning later than the default alarm": Refused(
        {"checks": {"capacity": {"warningPercentFree": 2}}}, "spec.checks.capacity", _CAPACITY
    ),
    # Rules
    "a rule without match": Refused({"rules": [{"ignore": True}]}, _MATCH_AT, "Required value", _MATCH),
    "a rule that matches everything": Refused(_match(), _MATCH_AT, _MATCH),
    "a rule that does nothing": Refused(
        {"rules": [{"match": {"message": "bad"}}]}, "spec.rules[0]", _NOTHING
    ),
    "a rule that does not ignore": Refused(_rule(ignore=False), "spec.rules[0]", _NOTHING),
    "a rule that ignores and sets": Refused(_rule(set={"status": "Degraded"}), "spec.rules[0]", _IGNORED),
    "a rule that ignores and believes later": Refused(_rule(unhealthyAfter="1h"), "spec.rules[0]", _IGNORED),
    "a rule that sets nothing": Refused(
        _rule(ignore=False, set={}), "spec.rules[0].set", "set must give status, reason or both"
    ),
    "a rule that sets a status of its own": Refused(
        _rule(ignore=False, set={"status": "Broken"}),
        "spec.rules[0].set.status",
        'supported values: "DataLoss", "Inaccessible", "Degraded"',
        "must be one of DataLoss, Inaccessible, Degraded",
    ),
    "a rule that can_clear": Refused(
        _rule(ignore=False, set={"status": "Healthy"}),
        "spec.rules[0].set.status",
        "supported values",
        "must be one of",
    ),
    "a rule that sets a reason with blanks": Refused(
        _rule(ignore=False, set={"reason": "disk is full"}),
        "spec.rules[0].set.reason",
        "must be a CamelCase reason such as OutOfCapacity",
    ),
    "a rule that sets an empty reason": Refused(
        _rule(ignore=False, set={"reason": ""}),
        "spec.rules[0].set.reason",
        "must be a CamelCase reason",
        "must not be empty",
    ),
    "a rule that believes after a bad duration": Refused(
        _rule(ignore=False, unhealthyAfter="soon"), "spec.rules[0].unhealthyAfter", _DURATION
    ),
    "a rule that believes after a fortnight": Refused(
        _rule(ignore=False, unhealthyAfter="336h"), "spec.rules[0].unhealthyAfter", "must be from 0s to 168h"
    ),
    "a source that does not exist": Refused(
        _match(source="Agent"),
        f"{_MATCH_AT}.source",
        'supported values: "Controller", "Node", "Kubernetes"',
        "must be one of Controller, Node, Kubernetes",
    ),
    "a rule for a driver with a pattern": Refused(_match(driver="csi-.*"), f"{_MATCH_AT}.driver", _DRIVER),
    "a rule for a driver with no name": Refused(
        _match(driver=""), f"{_MATCH_AT}.driver", _DRIVER, "must not be empty"
    ),
    "a rule for a reason in prose": Refused(
        _match(reason="volume not found"),
        f"{_MATCH_AT}.reason",
        "must be a CamelCase reason such as VolumeNotFound",
    ),
    "a rule for a status in prose": Refused(
        _match(status="very bad"), f"{_MATCH_AT}.status", "must be a status such as DataLoss"
    ),
    "a pattern with an open bracket": Refused(_match(message="(full"), f"{_MATCH_AT}.message", _RE2),
    "a pattern with lookahead": Refused(_match(message="disk(?=full)"), f"{_MATCH_AT}.message", _RE2),
    "a pattern with lookbehind": Refused(_match(message="(?<!no )error"), f"{_MATCH_AT}.message", _RE2),
    "a pattern with a backreference": Refused(_match(message=r"(a)\1"), f"{_MATCH_AT}.message", _RE2),
    "a pattern that ends in a backslash": Refused(_match(message="a\\"), f"{_MATCH_AT}.message", _RE2),
    "a pattern that repeats too often": Refused(_match(message="a{1001}"), f"{_MATCH_AT}.message", _RE2),
    "a pattern that is a shell's": Refused(_match(message="*full*"), f"{_MATCH_AT}.message", _RE2),
    "a pattern too long": Refused(
        _match(message="x" * 513),
        f"{_MATCH_AT}.message",
        "may not be more than 512",
        "512 characters at most",
    ),
    "an empty pattern": Refused(
        _match(message=""), f"{_MATCH_AT}.message", "should be at least 1 chars long", "must not be empty"
    ),
    "a bad pattern in the third rule": Refused(
        {
            "rules": [
                *_match(message="a")["rules"],
                *_match(message="b")["rules"],
                *_match(message="[")["rules"],
            ]
        },
        "spec.rules[2].match.message",
        _RE2,
    ),
    "too many rules": Refused(
        {"rules": _match(message="a")["rules"] * 65},
        "spec.rules",
        "must have at most 64 items",
        "64 items at most",
    ),
    "rules that are an object": Refused(
        {"rules": _match(message="a")["rules"][0]}, "spec.rules", "must be of type array", "must be a list"
    ),
}

ACCEPTED: Mapping[str, Any] = {
    "nothing": {},
    "a pause that is over": {"suspendUntil": "2020-01-01T00:00:00.5+05:30"},
    "the longest pause": {"suspendUntil": "2200-01-01T00:00:00Z"},
    "the shortest times": {
        "interval": "5s",
        "timeout": "1s",
        "unhealthyAfter": "0s",
        "healthyAfter": "0s",
        "recordRetention": "1h",
        "events": {"remindEvery": "1m"},
        "checks": {"nodeFailure": {"after": "1s"}},
    },
    "the longest times": {
        "interval": "24h",
        "timeout": "5m",
        "unhealthyAfter": "168h",
        "healthyAfter": "168h",
        "recordRetention": "8760h",
        "events": {"remindEvery": "55m"},
        "checks": {"nodeFailure": {"after": "24h"}},
    },
    "times in every unit": {
        "interval": "1h2m3s4ms",
        "timeout": "1500ms",
        "unhealthyAfter": "90m",
        "healthyAfter": "1h5s",
    },
    "every limit of a number": {
        "priority": -1_000_000,
        "checks": {"capacity": {"criticalPercentFree": 98, "warningPercentFree": 99}},
    },
    "a warning above the default alarm": {"checks": {"capacity": {"warningPercentFree": 4}}},
    "thresholds of a check that is off": {
        "checks": {"capacity": {"enabled": False, "criticalPercentFree": 1}}
    },
    "a driver with upper case letters, and a long one": {
        "selector": {"drivers": ["Disk.CSI.example", "d" * 63]}
    },
    "claims without a class": {"selector": {"storageClassNames": [""]}},
    "empty selectors": {"selector": {"namespaceSelector": {}, "claimSelector": {}}},
    "labels at their limits": _claims(
        {"key": "a" * 63, "operator": "In", "values": ["", "x" * 63]},
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
        {"key": "a.b/c_d", "operator": "DoesNotExist"},
        **{"team": "", "example.com/Part_of": "Shop.1"},
    ),
    "no rules in the list of rules": {"rules": []},
    "rules of every kind": {
        "rules": [
            {
                "match": {"driver": "linodebs.csi.linode.com", "message": "^(creating|resizing)$"},
                "ignore": True,
            },
            {"match": {"source": "Controller", "message": "not attached"}, "unhealthyAfter": "15m"},
            {
                "match": {"status": "Degraded", "reason": "VolumeConditionAbnormal"},
                "set": {"status": "Inaccessible"},
            },
            {
                "match": {"message": "(?i)free space"},
                "set": {"reason": "OutOfCapacity"},
                "unhealthyAfter": "0s",
            },
            {
                "match": {"status": "Frozen"},
                "ignore": False,
                "set": {"status": "DataLoss", "reason": "Lost_1"},
            },
        ]
    },
    "patterns in every style of RE2": {
        "rules": [
            _match(message=pattern)["rules"][0]
            for pattern in (
                r"\bEIO\b",
                r"(?P<code>[45]\d\d)",
                r"[[:digit:]]+ ?%",
                r"\p{Greek}",
                r"a{1000}",
                "ü|\u6f22",
                r"\Qa(b\E",
            )
        ]
    },
    "a pattern of the greatest length": _match(message="x" * 512),
    "as many rules as there may be, each with its greatest pattern": {
        "rules": [
            {
                "match": {"message": f"{'(a|b)*' * 85}{n:02}"},
                "set": {"reason": "R" * 256},
                "unhealthyAfter": "1h",
            }
            for n in range(64)
        ]
    },
    "everything switched off": {
        "suspend": True,
        "checks": {name: {"enabled": False} for name in ("controller", "node", "nodeFailure", "capacity")},
    },
}
