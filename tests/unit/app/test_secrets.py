"""Secrets for drivers come from mounted files, never from the API."""

import json
import logging
from pathlib import Path

import pytest

from volumehealth.app.secrets import SecretFiles
from volumehealth.model import masking
from volumehealth.model.text import clean_message


def test_a_file_named_after_the_driver_holds_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "csi.example.com").write_text("user: admin\npin: 17\n")

    assert SecretFiles(str(tmp_path))("csi.example.com") == {"user": "admin", "pin": "17"}


@pytest.mark.parametrize(
    "value", ["0123", "yes", "1_000", "2026-11-30", "1e3", "null", "2026-13-45", "!!int x"]
)
def test_a_secret_is_sent_as_it_is_written(tmp_path: Path, value: str) -> None:
    (tmp_path / "csi.example.com").write_text(f"password: {value}\n")

    assert SecretFiles(str(tmp_path))("csi.example.com") == {"password": value.removeprefix("!!int ")}


def test_a_character_that_json_writes_as_two_escapes_is_one(tmp_path: Path) -> None:
    (tmp_path / "csi.example.com").write_text(json.dumps({"password": "p\U0001f600"}))

    assert SecretFiles(str(tmp_path))("csi.example.com") == {"password": "p\U0001f600"}


def test_a_driver_that_says_a_secret_back_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a tenant reads in an Event must not hold the password of the array (CVE-2024-3744)."""
    monkeypatch.setattr(masking, "_known", masking._Known())
    (tmp_path / "csi.example.com").write_text('{"a": "Tr0ub4dor&3", "b": "horse battery"}')
    SecretFiles(str(tmp_path))("csi.example.com")

    said = clean_message("no session for Tr0ub4dor&3 at /login?q=Tr0ub4dor%263 (horse battery staple)")

    assert said == "no session for *** at /login?q=*** (*** staple)"


@pytest.mark.parametrize(
    "key",
    [
        "tenantDomain",
        "PROJECT",
        "storage_pool",
        "namespace",
        "Protocol",
        "monitors",
        "hosts",
        "mgmtEndpoints",
        "servers",
        "users",
        "addresses",
        "accessKeyID",
        "AWS_ACCESS_KEY_ID",
        "access_key_id",
    ],
)
def test_what_names_something_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(masking, "_known", masking._Known())
    (tmp_path / "csi.example.com").write_text(json.dumps({key: "storage"}))
    SecretFiles(str(tmp_path))("csi.example.com")

    assert clean_message("the storage is slow") == "the storage is slow"


@pytest.mark.parametrize("key", ["secret_id", "secretId", "VAULT_SECRET_ID", "tokenName", "passwordOfUser"])
def test_a_secret_is_one_though_its_key_ends_like_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(masking, "_known", masking._Known())
    (tmp_path / "csi.example.com").write_text(json.dumps({key: "tr0ub4dor"}))
    SecretFiles(str(tmp_path))("csi.example.com")

    assert clean_message("no session for tr0ub4dor") == "no session for ***"


def test_a_secret_is_masked_that_is_written_as_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "_known", masking._Known())
    (tmp_path / "csi.example.com").write_text("password: |\n  tr0ub4dor\n")

    assert SecretFiles(str(tmp_path))("csi.example.com") == {"password": "tr0ub4dor\n"}
    assert clean_message("no session for tr0ub4dor today") == "no session for *** today"


def test_the_name_of_an_account_is_no_secret_that_is_masked_in_every_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "_known", masking._Known())
    (tmp_path / "csi.example.com").write_text('{"userID": "kubernetes", "userKey": "AQDfX1lk"}')
    SecretFiles(str(tmp_path))("csi.example.com")

    assert (
        clean_message("client.kubernetes was refused, key AQDfX1lk")
        == "client.kubernetes was refused, key ***"
    )


def test_a_driver_without_a_file_gets_none(tmp_path: Path) -> None:
    assert SecretFiles(str(tmp_path))("csi.example.com") == {}
    assert SecretFiles("")("csi.example.com") == {}


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    secrets = SecretFiles(str(tmp_path))
    path = tmp_path / "csi.example.com"
    path.write_text('{"user": "old"}')
    secrets("csi.example.com")

    replacement = tmp_path / "new"
    replacement.write_text('{"user": "new"}')
    replacement.replace(path)

    assert secrets("csi.example.com") == {"user": "new"}


@pytest.mark.parametrize(
    "content",
    [
        "- a list",
        "{",
        "just words",
        "user: [admin]",
        pytest.param("[" * 5000, id="deep"),
        r'{"user": "\ud800"}',
    ],
)
def test_what_cannot_be_read_is_never_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / "csi.example.com").write_text(content)

    with caplog.at_level(logging.WARNING):
        assert SecretFiles(str(tmp_path))("csi.example.com") == {}

    assert "secrets not readable" in caplog.text
    assert content not in caplog.text.replace("csi.example.com", "")
