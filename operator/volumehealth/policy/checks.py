"""What a spec must be beyond its shape. The CRD says the same in CEL; the same table of specs tests both.

It is said again here for `volumehealth check -f`, which needs no API server, and for a CRD of an older version.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta

from volumehealth.model.health import DATA_LOSS, DEGRADED, INACCESSIBLE, Source
from volumehealth.model.policy import (
    CapacityCheck,
    FieldError,
    LabelSelector,
    PolicySpec,
    Rule,
    RuleMatch,
    RuleSet,
    Selector,
)
from volumehealth.policy.durations import format_duration

Faults = Iterator[FieldError]

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_MILLISECOND = timedelta(milliseconds=1)
_ZERO, _SECOND, _DAY, _WEEK = timedelta(), timedelta(seconds=1), 24 * _HOUR, 168 * _HOUR
_PATTERN_LENGTH = 512
_PRIORITY = 1_000_000
_STATUSES = (DATA_LOSS, INACCESSIBLE, DEGRADED)

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_CLASS = re.compile(_SUBDOMAIN)
_DRIVER = re.compile(_SUBDOMAIN, re.IGNORECASE | re.ASCII)
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_LABEL_KEY = re.compile(rf"({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def check_name(name: str) -> Faults:
    """Yield a fault if the policy's name cannot be the value of a label."""
    if not name or len(name) > 63:
        yield FieldError(
            "metadata.name", "must be 1 to 63 characters: the records of a policy carry its name as a label"
        )


def check_spec(spec: PolicySpec) -> Faults:
    """Yield every fault of a spec, with the field's path."""
    if abs(spec.priority) > _PRIORITY:
        yield FieldError("spec.priority", f"must be from -{_PRIORITY} to {_PRIORITY}")
    yield from _selector(spec.selector, "spec.selector")
    yield from _duration(spec.interval, "spec.interval", 5 * _SECOND, _DAY)
    yield from _duration(spec.timeout, "spec.timeout", _SECOND, 5 * _MINUTE)
    yield from _duration(spec.unhealthy_after, "spec.unhealthyAfter", _ZERO, _WEEK)
    yield from _duration(spec.healthy_after, "spec.healthyAfter", _ZERO, _WEEK)
    node = spec.checks.node
    yield from _duration(node.io_stalled_after, "spec.checks.node.ioStalledAfter", _SECOND, _DAY)
    if node.max_latency is not None:
        yield from _duration(node.max_latency, "spec.checks.node.maxLatency", _MILLISECOND, _HOUR)
    yield from _duration(spec.checks.node_failure.after, "spec.checks.nodeFailure.after", _SECOND, _DAY)
    yield from _capacity(spec.checks.capacity, "spec.checks.capacity")
    if len(spec.rules) > 64:
        yield FieldError("spec.rules", "must have 64 items at most")
    for index, rule in enumerate(spec.rules):
        yield from _rule(rule, f"spec.rules[{index}]")
    yield from _duration(spec.events.remind_every, "spec.events.remindEvery", _MINUTE, 55 * _MINUTE)
    yield from _duration(spec.record_retention, "spec.recordRetention", _HOUR, 365 * _DAY)


def _duration(value: timedelta, path: str, least: timedelta, most: timedelta) -> Faults:
    if not least <= value <= most:
        yield FieldError(path, f"must be from {_words(least)} to {_words(most)}")


def _words(bound: timedelta) -> str:
    return format_duration(bound)


def _matches(text: str, pattern: re.Pattern[str], path: str, message: str, most: int = 256) -> Faults:
    if len(text) > most:
        yield FieldError(path, f"must be {most} characters at most")
    elif pattern.fullmatch(text) is None:
        yield FieldError(path, message)


def _driver(name: str, path: str) -> Faults:
    return _matches(name, _DRIVER, path, "must be the name of a CSI driver such as hostpath.csi.k8s.io", 63)


def _storage_class(name: str, path: str) -> Faults:
    message = "must be the name of a StorageClass: lower case letters, digits, '-' and '.'"
    return iter(()) if not name else _matches(name, _CLASS, path, message, 253)


def _distinct(values: Sequence[str], path: str, most: int) -> Faults:
    if len(values) > most:
        yield FieldError(path, f"must have {most} items at most")
    for index, value in enumerate(values):
        if value in values[:index]:
            yield FieldError(f"{path}[{index}]", f'Duplicate value: "{value}"')


def _selector(selector: Selector, path: str) -> Faults:
    yield from _distinct(selector.drivers, f"{path}.drivers", 64)
    for index, name in enumerate(selector.drivers):
        yield from _driver(name, f"{path}.drivers[{index}]")
    yield from _distinct(selector.storage_class_names, f"{path}.storageClassNames", 64)
    for index, name in enumerate(selector.storage_class_names):
        yield from _storage_class(name, f"{path}.storageClassNames[{index}]")
    yield from _label_selector(selector.namespace_selector, f"{path}.namespaceSelector")
    yield from _label_selector(selector.claim_selector, f"{path}.claimSelector")


def _label_selector(selector: LabelSelector, path: str) -> Faults:
    yield from _match_labels(selector.match_labels, f"{path}.matchLabels")
    if len(selector.match_expressions) > 32:
        yield FieldError(f"{path}.matchExpressions", "must have 32 items at most")
    for index, expression in enumerate(selector.match_expressions):
        where = f"{path}.matchExpressions[{index}]"
        yield from _label_key(expression.key, f"{where}.key")
        yield from _operator(expression.operator, bool(expression.values), where)
        yield from _distinct(expression.values, f"{where}.values", 64)
        for at, value in enumerate(expression.values):
            yield from _label_value(value, f"{where}.values[{at}]")


def _match_labels(labels: Mapping[str, str], path: str) -> Faults:
    if len(labels) > 32:
        yield FieldError(path, "must have 32 entries at most")
    for key, value in labels.items():
        if any(_label_key(key, path)):
            yield FieldError(path, "every key must be a label key such as team or example.com/team")
        yield from _label_value(value, f"{path}[{key}]")


def _operator(operator: str, values: bool, path: str) -> Faults:
    match operator:
        case "In" | "NotIn" if not values:
            yield FieldError(path, "operators In and NotIn need values")
        case "Exists" | "DoesNotExist" if values:
            yield FieldError(path, "operators Exists and DoesNotExist take no values")
        case "In" | "NotIn" | "Exists" | "DoesNotExist":
            pass
        case _:
            yield FieldError(f"{path}.operator", "must be In, NotIn, Exists or DoesNotExist")


def _label_key(key: str, path: str) -> Faults:
    return _matches(key, _LABEL_KEY, path, "must be a label key such as team or example.com/team", 317)


def _label_value(value: str, path: str) -> Faults:
    message = "must be a label value: letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    return _matches(value, _LABEL_VALUE, path, message, 63)


def _capacity(check: CapacityCheck, path: str) -> Faults:
    critical, warning = check.critical_percent_free, check.warning_percent_free
    if not 1 <= critical <= 99:
        yield FieldError(f"{path}.criticalPercentFree", "must be from 1 to 99")
    if warning is None:
        return
    if not 1 <= warning <= 99:
        yield FieldError(f"{path}.warningPercentFree", "must be from 1 to 99")
    elif warning <= critical:
        yield FieldError(
            path, "warningPercentFree must be greater than criticalPercentFree, which is 3 if it is not given"
        )


def _rule(rule: Rule, path: str) -> Faults:
    acts = rule.set is not None or rule.unhealthy_after is not None
    if not acts and not rule.ignore:
        yield FieldError(path, "a rule must do something: give ignore: true, set or unhealthyAfter")
    if acts and rule.ignore:
        yield FieldError(
            path,
            "a rule with ignore: true cannot have set or unhealthyAfter as well: an ignored statement is never confirmed",
        )
    yield from _match(rule.match, f"{path}.match")
    if rule.unhealthy_after is not None:
        yield from _duration(rule.unhealthy_after, f"{path}.unhealthyAfter", _ZERO, _WEEK)
    if rule.set is not None:
        yield from _set(rule.set, f"{path}.set")


def _match(match: RuleMatch, path: str) -> Faults:
    if not any(getattr(match, field.name) for field in fields(match)):
        yield FieldError(
            path,
            "match must say which statements the rule is for: give driver, source, status, reason or message",
        )
    if match.driver:
        yield from _driver(match.driver, f"{path}.driver")
    if match.source and match.source not in tuple(Source):
        yield FieldError(f"{path}.source", f"must be one of {', '.join(Source)}")
    if match.status:
        message = "must be a status such as DataLoss, Inaccessible or Degraded"
        yield from _matches(match.status, _REASON, f"{path}.status", message)
    if match.reason:
        yield from _reason(match.reason, f"{path}.reason", "VolumeNotFound")
    if match.message:
        yield from _pattern(match.message, f"{path}.message")


def _set(values: RuleSet, path: str) -> Faults:
    if not values.status and not values.reason:
        yield FieldError(path, "set must give status, reason or both")
    if values.status and values.status not in _STATUSES:
        yield FieldError(f"{path}.status", f"must be one of {', '.join(_STATUSES)}")
    if values.reason:
        yield from _reason(values.reason, f"{path}.reason", "OutOfCapacity")


def _reason(reason: str, path: str, example: str) -> Faults:
    return _matches(reason, _REASON, path, f"must be a CamelCase reason such as {example}")


def _pattern(pattern: str, path: str) -> Faults:
    if len(pattern) > _PATTERN_LENGTH:
        yield FieldError(path, f"must be {_PATTERN_LENGTH} characters at most")
        return
    import re2  # most policies have no patterns, and every agent would pay for it

    options = re2.Options()
    options.log_errors = False  # it writes to standard error by itself
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        cause = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        yield FieldError(
            path,
            f"must be a regular expression in RE2 syntax, which has no lookaround and no backreferences: {cause}",
        )
