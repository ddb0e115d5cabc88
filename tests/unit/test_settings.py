"""What a person may say on the command line, and what they are told when it is wrong."""

from pathlib import Path
from typing import Any

import pytest

from volumehealth.errors import SettingsError
from volumehealth.settings import EndpointSetting, HostPort, Settings, TlsFiles, is_loopback, parse_settings


def faults_of(**raw: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(raw)
    return caught.value.faults


def test_nothing_given_means_the_defaults() -> None:
    assert parse_settings({}) == Settings()


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"csi_endpoint": ["csi.sock"]}, "--csi-endpoint: 'csi.sock' is neither unix:///path nor HOST:PORT"),
        ({"csi_endpoint": ["unix://csi.sock"]}, "needs an absolute path"),
        ({"csi_endpoint": [f"unix:///{'x' * 107}"]}, "a unix socket's path has 107 bytes at most"),
        ({"csi_endpoint": ["10.0.0.1:9000"]}, "is not on loopback: TCP needs --csi-tls-ca, -cert and -key"),
        ({"csi_endpoint": ["a b=unix:///a"]}, "is not a CSI driver name"),
        ({"csi_endpoint": ["unix:///a", "unix:///a"]}, "unix:///a is given twice"),
        ({"csi_tls_ca": __file__}, "go together: mutual TLS needs all"),
        ({"csi_secrets_dir": "/nowhere"}, "--csi-secrets-dir: there is no directory /nowhere"),
        ({"kubeconfig": "/nowhere"}, "--kubeconfig: there is no file /nowhere"),
        ({"csi_gets_in_flight": "0"}, "--csi-gets-in-flight: '0' is not a whole number from 1 to 1024"),
        ({"csi_busy_percent": "many"}, "--csi-busy-percent: 'many' is not a whole number from 1 to 100"),
        ({"metrics_address": "8080"}, "--metrics-address: '8080' is not HOST:PORT"),
        ({"health_address": "a:99999"}, "--health-address: 'a:99999' is not HOST:PORT"),
        ({"runbooks": "https://a.example.com/r#x"}, "is not the address of a page, without #SECTION"),
        ({"runbooks": "two words"}, "is not the address of a page, without #SECTION"),
        ({"namespace": "storage/ops"}, "--namespace: 'storage/ops' can be the name of nothing in Kubernetes"),
        ({"namespace": "Storage"}, "--namespace: 'Storage' can be the name of nothing in Kubernetes"),
        ({"log_format": "xml"}, "--log-format: 'xml' is none of text, json"),
        ({"log_level": "loud"}, "--log-level: 'loud' is none of debug, info, warning, error"),
    ],
)
def test_a_bad_value_is_named_with_its_flag(raw: dict[str, Any], fault: str) -> None:
    (told,) = faults_of(**raw)

    assert told.startswith("--")
    assert fault in told


def test_all_faults_are_told_at_once() -> None:
    faults = faults_of(csi_endpoint=["x"], log_level="loud", metrics_address="y", csi_gets_in_flight="-1")

    assert [fault.partition(":")[0] for fault in faults] == [
        "--csi-endpoint",
        "--csi-gets-in-flight",
        "--metrics-address",
        "--log-level",
    ]


def test_an_endpoint_may_name_its_driver() -> None:
    settings = parse_settings({"csi_endpoint": ["csi.example.com=unix:///run/csi.sock"]})

    assert settings.csi_endpoints == (EndpointSetting("unix:///run/csi.sock", "csi.example.com"),)


def test_the_environment_gives_several_endpoints_in_one_text() -> None:
    settings = parse_settings({"csi_endpoint": "unix:///a,unix:///b unix:///c"})

    assert [endpoint.address for endpoint in settings.csi_endpoints] == [
        "unix:///a",
        "unix:///b",
        "unix:///c",
    ]


def test_commas_separate_endpoints_also_where_the_command_line_has_taken_the_text_apart() -> None:
    settings = parse_settings({"csi_endpoint": ("a.example=unix:///a,b.example=unix:///b,", "unix:///c")})

    assert settings.csi_endpoints == (
        EndpointSetting("unix:///a", "a.example"),
        EndpointSetting("unix:///b", "b.example"),
        EndpointSetting("unix:///c"),
    )


def test_tcp_with_all_tls_files_may_leave_the_machine(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ca", "cert", "key")}
    for path in files.values():
        path.touch()

    settings = parse_settings(
        {"csi_endpoint": ["array.example.com:9000"]}
        | {f"csi_tls_{name}": str(path) for name, path in files.items()}
    )

    assert settings.csi_tls == TlsFiles(*(str(path) for path in files.values()))


@pytest.mark.parametrize("text", ["", "0", "off"])
def test_an_empty_address_turns_a_server_off(text: str) -> None:
    assert parse_settings({"metrics_address": text}).metrics_address is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9090", HostPort("0.0.0.0", 9090)),
        ("127.0.0.1:0", HostPort("127.0.0.1", 0)),
        ("[::1]:80", HostPort("::1", 80)),
    ],
)
def test_addresses_are_host_and_port(text: str, expected: HostPort) -> None:
    assert parse_settings({"health_address": text}).health_address == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.9", True), ("[::1]", True), ("10.0.0.1", False), ("example.com", False)],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
