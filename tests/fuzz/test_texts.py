"""Texts, times, durations, quantities, addresses and patterns of others: read, or refused in the documented way."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from fuzz.fuzzing import ANY_JSON, ANY_TEXT, ODD_TEXT, TIMES, edited_json, edited_text, fuzz
from volumehealth.cluster.conditions import below
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import InvalidSpec, SettingsError
from volumehealth.judge.rules import compile_rules
from volumehealth.kube.bodies import version_number
from volumehealth.kube.proxies import proxy_for
from volumehealth.model.clock import LATEST, LONG_AGO, moment_of, parse_rfc3339
from volumehealth.model.health import Condition, Source
from volumehealth.model.masking import mask
from volumehealth.model.text import clean_message, clean_reason
from volumehealth.policy.durations import format_duration, parse_duration
from volumehealth.policy.parse import parse_policy
from volumehealth.report.text import clean, fit
from volumehealth.settings import parse_settings

MESSAGES = (
    "GET https://user:secret@array.example/api?token=abc failed: 401 Unauthorized, Authorization: Bearer eyJhbGciOi",
    "mount: /dev/sdb: can't read superblock; password='it is', AWS_SECRET_ACCESS_KEY=wJalr",
    "rpc error: code = Internal desc = volume vol-1 is degraded\n\n\tat line 3",
)
TEXTS = edited_text(MESSAGES) | ANY_TEXT | st.sampled_from(ODD_TEXT)


@fuzz(TEXTS)
def test_any_message_is_cleaned_and_bounded(text: str) -> None:
    assert len(clean_message(text)) <= 4096
    assert "hunter2" not in mask(clean_message(text))
    assert clean_reason(text)
    clean(text)
    assert len(fit(text, 40)) <= 40


@fuzz(edited_text(TIMES))
def test_any_time_is_in_range_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert LONG_AGO <= parse_rfc3339(text) <= LATEST
    moment = moment_of(text)
    assert moment is None or LONG_AGO <= moment <= LATEST


@fuzz(ANY_JSON)
def test_any_value_is_a_moment_or_none(value: object) -> None:
    moment_of(value)


@fuzz(edited_text(("1h30m", "90s", "5ms", "999999h999999m")))
def test_any_duration_is_read_or_refused(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    written = format_duration(duration)
    assert datetime(2026, 11, 24, tzinfo=UTC) + duration > LONG_AGO
    if duration < timedelta(hours=1_000_000):
        assert parse_duration(written) == duration


QUANTITIES = edited_text(("10Gi", "1500M", "1e9", "0.5Ti", "12E", "100m", "1Ei"))


@fuzz(QUANTITIES, QUANTITIES)
def test_any_two_quantities_can_be_compared(one: str, other: str) -> None:
    assert not (below(one, other) and below(other, one))


@fuzz(edited_text(("12345", "99999999999999999999", "v1")))
def test_any_version_is_a_number(text: str) -> None:
    assert 0 <= version_number(text) < 10**20


@fuzz(edited_text(("unix:///run/csi.sock", "tcp://127.0.0.1:9000", "[::1]:443", "array.example:50051")))
def test_any_endpoint_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        parse_endpoint(text)


SERVERS = ("https://10.0.0.1:6443", "https://[fe80::1%eth0]:443/k8s", "https://api.example")
NO_PROXY = ("10.0.0.0/8,.example,localhost", "*", "[::1]:443, api.example:6443", "10.0.0.1/99")


@fuzz(
    edited_text(SERVERS),
    edited_text(("http://user:p%40ss@proxy.example:3128", "proxy.example:3128", "socks5://x")),
    edited_text(NO_PROXY),
)
def test_any_environment_names_a_proxy_or_none(server: str, proxy: str, no_proxy: str) -> None:
    proxy_for(server, {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": no_proxy})


FLAGS = (
    {
        "csi_endpoint": ["unix:///run/csi.sock"],
        "metrics_address": "127.0.0.1:9090",
        "csi_gets_in_flight": "4",
    },
    {"csi_endpoint": ["d=tcp://127.0.0.1:1"], "health_address": "[::]:8080", "log_level": "debug"},
)


@fuzz(edited_json(FLAGS).filter(lambda flags: isinstance(flags.get("csi_endpoint"), list)))
def test_any_flags_are_settings_or_all_faults(flags: dict[str, object]) -> None:
    texts = {
        name: [str(one) for one in value] if isinstance(value, list) else str(value)
        for name, value in flags.items()
    }
    with suppress(SettingsError):
        parse_settings(texts)


POLICIES = (
    {
        "metadata": {"name": "p", "uid": "u", "generation": 1, "creationTimestamp": TIMES[-1]},
        "spec": {
            "priority": 1,
            "interval": "1m",
            "timeout": "15s",
            "unhealthyAfter": "0s",
            "selector": {
                "drivers": ["d"],
                "namespaceSelector": {"matchLabels": {"a": "b"}},
                "claimSelector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
            },
            "checks": {
                "node": {"enabled": True, "ioStalledAfter": "60s"},
                "capacity": {"criticalPercentFree": 3},
            },
            "rules": [
                {"match": {"driver": "d", "message": "^(a|b)$"}, "ignore": True},
                {
                    "match": {"source": "Node", "message": "(?i)free"},
                    "set": {"status": "Degraded", "reason": "X"},
                },
            ],
            "events": {"remindEvery": "30m"},
        },
    },
)


@fuzz(edited_json(POLICIES), TEXTS)
def test_any_policy_is_read_or_refused_and_its_rules_take_any_text(raw: dict[str, object], text: str) -> None:
    try:
        policy = parse_policy(raw)
        rules = compile_rules(policy.spec.rules)
    except InvalidSpec:
        return
    assert datetime(2026, 11, 24, tzinfo=UTC) + policy.spec.unhealthy_after > LONG_AGO
    rules.apply("d", Source.CONTROLLER, Condition("Degraded", "X", clean_message(text)))
