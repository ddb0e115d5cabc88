"""Credentials are found where kubectl finds them."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from volumehealth import errors
from volumehealth.kube import incluster
from volumehealth.kube.access import Access
from volumehealth.kube.credentials import CredentialSource


def config(name: str, *, user: Mapping[str, Any] | None = None, current: bool = True) -> dict[str, Any]:
    """A kubeconfig with one of each, all of that name."""
    found: dict[str, Any] = {
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}.example:6443/"}}],
        "users": [{"name": name, "user": dict(user or {"token": f"token-of-{name}"})}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    if current:
        found["current-context"] = name
    return found


def written(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no pod."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


async def load(kubeconfig: str | None = None, context: str | None = None, **environ: str) -> Access:
    return await CredentialSource(kubeconfig, context, environ=environ).load()


async def test_the_file_that_was_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a", config("a"))
    access = await load(str(path), KUBECONFIG="/nowhere")
    assert access == Access("http://a.example:6443", "Bearer token-of-a")


async def test_kubeconfig_from_the_environment_comes_before_the_home(tmp_path: Path, home: Path) -> None:
    written(home / ".kube" / "config", config("home"))
    path = written(tmp_path / "a", config("a"))
    assert (await load(KUBECONFIG=str(path))).server == "http://a.example:6443"
    assert (await load()).server == "http://home.example:6443"


async def test_of_several_files_the_first_that_names_a_current_context_decides_as_kubectl_has_it(
    tmp_path: Path,
) -> None:
    """With the last one's, every command would speak of another cluster than kubectl in the same terminal."""
    none = written(tmp_path / "none", config("none", current=False) | {"current-context": ""})
    files = [none, written(tmp_path / "one", config("one")), written(tmp_path / "two", config("two"))]
    merged = os.pathsep.join(map(str, files))
    assert (await load(KUBECONFIG=merged)).server == "http://one.example:6443"
    assert (await load(context="two", KUBECONFIG=merged)).server == "http://two.example:6443"


async def test_an_empty_file_among_several_says_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("# made by touch\n")
    one = written(tmp_path / "one", config("one"))
    for files in ((empty, one), (one, empty)):
        access = await load(KUBECONFIG=os.pathsep.join(map(str, files)))
        assert access.server == "http://one.example:6443"


async def test_an_exec_plugin_beside_its_kubeconfig_is_found_there(tmp_path: Path) -> None:
    plugin = tmp_path / "bin" / "plugin"
    plugin.parent.mkdir()
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "t"},
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o700)
    user = {"exec": {"apiVersion": answer["apiVersion"], "command": "./bin/plugin"}}
    path = written(tmp_path / "a", config("a", user=user))
    assert (await load(str(path))).authorization == "Bearer t"


async def test_who_acts_as_another_user_says_so_with_each_request(tmp_path: Path) -> None:
    """Left out, a command that is tried with a tenant's rights shows, and changes, what an administrator may."""
    user = {
        "token": "t",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["shop", "viewers"],
        "as-user-extra": {"example.com/Scopes": ["a", "b"]},
    }
    path = written(tmp_path / "a", config("a", user=user))
    assert (await load(str(path))).acts_as == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "shop"),
        ("Impersonate-Group", "viewers"),
        ("Impersonate-Extra-example.com%2FScopes", "a"),
        ("Impersonate-Extra-example.com%2FScopes", "b"),
    )


@pytest.mark.parametrize(
    "wrong", [{"as-groups": ["shop"]}, {"as-uid": "7"}, {"as": "ja\nne"}, {"as": "j\u00e4ne"}]
)
async def test_who_acts_as_nobody_that_can_be_named_is_told(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = written(tmp_path / "a", config("a", user={"token": "t"} | wrong))
    with pytest.raises(errors.ApiError, match="no credentials for the API server"):
        await load(str(path))


async def test_several_files_are_merged_and_one_that_is_missing_is_left_out(tmp_path: Path) -> None:
    one = written(tmp_path / "one", config("one"))
    two = written(tmp_path / "two", config("two", current=False))
    both = os.pathsep.join([str(one), str(tmp_path / "missing"), str(two)])
    assert (await load(KUBECONFIG=both)).server == "http://one.example:6443"
    assert (await load(context="two", KUBECONFIG=both)).authorization == "Bearer token-of-two"


async def test_a_pods_own_credentials_when_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("pod-token\n")
    ca.write_text("a certificate")
    monkeypatch.setattr(incluster, "SERVICE_ACCOUNT", tmp_path)
    source = CredentialSource(
        None, environ={"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    )
    access = await source.load()
    assert access.server == "https://[fd00::1]:443"
    assert access.authorization.lower() == "bearer pod-token"
    assert access.ca_file == str(ca)
    token.write_text("pod-token-2\n")
    assert (await source.refresh()).authorization.lower() == "bearer pod-token-2"


async def test_a_kubeconfig_comes_before_the_pods_own_credentials(home: Path) -> None:
    written(home / ".kube" / "config", config("home"))
    access = await load(KUBERNETES_SERVICE_HOST="10.0.0.1", KUBERNETES_SERVICE_PORT="443")
    assert access.server == "http://home.example:6443"


async def test_an_exec_plugin_is_run_and_its_token_kept_until_it_is_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    runs = tmp_path / "runs"
    plugin.write_text(
        f"#!/bin/sh\necho run >> {runs}\n"
        'echo \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        '"status":{"token":"from-plugin"}}\'\n'
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    path = written(tmp_path / "a", config("a", user=user))
    source = CredentialSource(str(path))
    assert (await source.load()).authorization == "Bearer from-plugin"
    assert (await source.refresh()).authorization == "Bearer from-plugin"
    assert runs.read_text() == "run\n"
    await source.load()
    assert runs.read_text() == "run\nrun\n"


async def test_an_exec_plugin_that_fails_is_an_error_not_an_anonymous_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false"}}
    path = written(tmp_path / "a", config("a", user=user))
    with pytest.raises(errors.ApiError, match="exec plugin /bin/false gave none"):
        await load(str(path))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("[" * 100_000, id="deep"),
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":[]}',
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"a\\nb:\\u00e9"}}',
        "null",
    ],
)
async def test_whatever_an_exec_plugin_answers_is_told_in_one_line(tmp_path: Path, answer: str) -> None:
    (tmp_path / "answer").write_text(answer)
    command = {"command": "/bin/cat", "args": [str(tmp_path / "answer")]}
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **command}}
    with pytest.raises(errors.ApiError) as caught:
        await load(str(written(tmp_path / "a", config("a", user=user))))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own
async def test_an_oidc_provider_that_cannot_be_reached_is_told_in_one_line(tmp_path: Path) -> None:
    user = {
        "auth-provider": {
            "name": "oidc",
            "config": {
                "idp-issuer-url": "http://127.0.0.1:1",
                "client-id": "c",
                "client-secret": "s",
                "refresh-token": "r",
            },
        }
    }
    with pytest.raises(errors.ApiError) as caught:
        await load(str(written(tmp_path / "a", config("a", user=user))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("token", [b"\xff\xfe\x00", b"one\ntwo", "tök".encode()])
async def test_a_pods_token_that_can_be_no_header_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: bytes
) -> None:
    (tmp_path / "token").write_bytes(token)
    monkeypatch.setattr(incluster, "SERVICE_ACCOUNT", tmp_path)
    with pytest.raises(errors.ApiError, match="characters that no header can have"):
        await load(KUBERNETES_SERVICE_HOST="10.0.0.1", KUBERNETES_SERVICE_PORT="443")


async def test_user_and_password(tmp_path: Path) -> None:
    path = written(tmp_path / "a", config("a", user={"username": "u", "password": "p"}))
    assert (await load(str(path))).authorization == "Basic dTpw"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the kubeconfig cannot be read"),
        ("- a\n- b\n", "the kubeconfig cannot be read"),
        ("a: [", "the kubeconfig cannot be read"),
        pytest.param("[" * 2000, "the kubeconfig cannot be read", id="deep"),
        (yaml.safe_dump({"clusters": []}), "no credentials for the API server"),
        (yaml.safe_dump(config("a") | {"current-context": "b"}), "object with name b"),
    ],
)
async def test_a_file_that_is_no_kubeconfig_is_told_in_one_line(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "a"
    path.write_text(content)
    with pytest.raises(errors.ApiError, match=message) as caught:
        await load(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("server", ["ftp://a.example", "a.example:6443", "10.0.0.1:6443", "//a.example"])
async def test_a_server_of_another_kind_is_told_in_one_line(tmp_path: Path, server: str) -> None:
    """It was a KeyError, and for `check` exit status 1."""
    content = config("a")
    content["clusters"][0]["cluster"]["server"] = server
    with pytest.raises(errors.ApiError, match="not a URL with https:// or http://"):
        await load(str(written(tmp_path / "a", content)))


@pytest.mark.parametrize("host", ["api..example", "a" * 64 + ".example"])
async def test_a_host_that_can_be_no_name_is_told_in_one_line(tmp_path: Path, host: str) -> None:
    """It ended the operator and `check` with a traceback: no lookup of names takes it."""
    content = config("a")
    content["clusters"][0]["cluster"]["server"] = f"https://{host}:6443"
    with pytest.raises(errors.ApiError, match="cannot be read as a URL"):
        await load(str(written(tmp_path / "a", content)))

    path = written(tmp_path / "b", config("b"))
    with pytest.raises(errors.ApiError, match="cannot be read as a URL"):
        await load(str(path), HTTP_PROXY=f"http://{host}:3128")


async def test_the_password_of_a_proxy_is_not_told(tmp_path: Path) -> None:
    content = config("a")
    content["clusters"][0]["cluster"]["proxy-url"] = "http://user:hunter2@proxy.example:port"
    with pytest.raises(errors.ApiError, match="cannot be read as a URL") as told:
        await load(str(written(tmp_path / "a", content)))
    assert "hunter2" not in str(told.value)


async def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.ApiError, match=r"no kubeconfig file exists at .*missing"):
        await load(str(tmp_path / "missing"))


async def test_nothing_anywhere_says_where_was_looked() -> None:
    with pytest.raises(
        errors.ApiError, match=r"there is no ~/.kube/config, and this process does not run in a Pod"
    ):
        await load()
    with pytest.raises(errors.ApiError, match=r"KUBECONFIG names no file that exists \(/nowhere\)"):
        await load(KUBECONFIG="/nowhere")


async def test_a_certificate_that_is_gone_is_told(tmp_path: Path) -> None:
    content = config("a")
    content["clusters"][0]["cluster"] = {
        "server": "https://a.example",
        "certificate-authority": str(tmp_path / "missing.crt"),
    }
    with pytest.raises(errors.ApiError, match=r"missing\.crt"):
        await load(str(written(tmp_path / "a", content)))


async def test_the_proxy_of_the_kubeconfig_comes_before_that_of_the_environment(tmp_path: Path) -> None:
    content = config("a")
    path = written(tmp_path / "a", content)
    assert (await load(str(path), http_proxy="http://environment:1")).proxy == "http://environment:1"
    content["clusters"][0]["cluster"]["proxy-url"] = "http://kubeconfig:2"
    written(path, content)
    assert (await load(str(path), http_proxy="http://environment:1")).proxy == "http://kubeconfig:2"
