"""The support bundle: secrets are planted everywhere they are seen in the field, and searched for in the archive."""

import io
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from support.health import START
from volumehealth import errors
from volumehealth.cli.support import support
from volumehealth.oneshot.preflight import read_cluster
from volumehealth.oneshot.support import Bundle, cleaned, collect

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"
PLANTED = ("hunter2", "correct-horse", "s3cr3t-sig", "AKIAIOSFODNN7EXAMPLE", "tr0ub4dor", JWT)


def volume() -> dict[str, Any]:
    return {
        "metadata": {
            "name": "pv-1",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"k":"hunter2"}'},
            "managedFields": [{"fieldsV1": "hunter2"}],
        },
        "spec": {
            "csi": {
                "driver": "d.example.com",
                "volumeHandle": "smb://user:correct-horse@server/share",
                "volumeAttributes": {"chap": "hunter2"},
                "nodePublishSecretRef": {"name": "hunter2"},
            },
            "flexVolume": {"options": {"any": "hunter2"}},
            "mountOptions": ["username=me", "password=hunter2"],
            "claimRef": {"namespace": "shop", "name": "orders-db"},
        },
        "status": {"phase": "Bound", "message": "mount -o password=hunter2 failed"},
    }


def pod() -> dict[str, Any]:
    container = {
        "name": "operator",
        "env": [{"name": "TOKEN", "value": "hunter2"}],
        "args": ["--password=hunter2"],
        "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "X-Token", "value": "tr0ub4dor"}]}},
    }
    return {
        "metadata": {"namespace": "ops", "name": "operator-0"},
        "spec": {
            "containers": [{"name": "istio-proxy"}, container],
            "volumes": [{"name": "v", "csi": {"volumeAttributes": {"x": "hunter2"}}}],
        },
    }


LISTS: dict[str, list[dict[str, Any]]] = {
    "/api/v1/persistentvolumes": [volume()],
    "/api/v1/pods": [pod()],
    "/apis/storage.k8s.io/v1/storageclasses": [
        {
            "metadata": {"name": "fast"},
            "parameters": {"userKey": "hunter2"},
            "mountOptions": ["sig=s3cr3t-sig"],
        }
    ],
    "/apis/volumehealth.dev/v1alpha1/volumehealths": [
        {
            "metadata": {"namespace": "shop", "name": "orders-db"},
            "status": {"findings": [{"message": "https://me:correct-horse@array/?sig=s3cr3t-sig"}]},
        }
    ],
    "/api/v1/events": [{"message": "AKIAIOSFODNN7EXAMPLE was refused"}],
}
TEXTS = {
    "/api/v1/namespaces/ops/pods/operator-0/log": f"Authorization: Bearer {JWT}\npassword: tr0ub4dor!1\n",
    "/api/v1/namespaces/ops/services/volumehealth-operator:metrics/proxy/metrics": 'x{message="token=hunter2"} 1\n',
}


class Server:
    """An API server; it notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 0
    ) -> bytes:
        assert method == "GET"
        self.asked.append(path)
        if path == "/version":
            return b'{"gitVersion": "v1.37.2"}'
        if path.endswith("/log") and (query or {}).get("container") != "operator":
            raise errors.Invalid(
                "a container name must be specified, choose one of: [istio-proxy operator]", status=400
            )
        if path in TEXTS:
            return TEXTS[path].encode()
        if path in LISTS:
            return msgspec.json.encode({"items": LISTS[path]})
        if path.endswith("nodes"):
            raise errors.Forbidden("nodes is forbidden", status=403)
        return b'{"items": []}'


def unpacked(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {
            entry.name: file.read().decode()
            for entry in tar.getmembers()
            if (file := tar.extractfile(entry)) is not None
        }


@pytest.fixture
async def bundle() -> Bundle:
    return await collect(Server(), operator_in="ops")  # type: ignore[arg-type] # it asks for no more than requests


async def test_no_planted_secret_is_in_the_bundle(bundle: Bundle) -> None:
    files = unpacked(bundle.archive(START))
    assert len(files) > 10
    found = {(secret, name) for secret in PLANTED for name, text in files.items() if secret in text}
    assert found == set()


async def test_what_helps_is_in_the_bundle(bundle: Bundle) -> None:
    files = unpacked(bundle.archive(START))
    volumes = files["volumehealth-support/persistentvolumes.yaml"]
    assert "d.example.com" in volumes
    assert "server/share" in volumes
    assert "mount -o" in volumes
    assert "volumehealth-support/logs/ops.operator-0.log" in files
    assert "nodes is forbidden" in files["volumehealth-support/not-read.txt"]


@pytest.mark.parametrize("page", [b"<html>sign in</html>", b"[]", b"\xff", b'"v1.37"'])
async def test_a_proxy_that_answers_in_place_of_the_api_server_is_a_sentence(page: bytes) -> None:
    class Proxy(Server):
        async def request(
            self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 0
        ) -> bytes:
            return page

    with pytest.raises(errors.ApiError, match="the answer to GET /version cannot be read"):
        await collect(Proxy(), operator_in="ops")  # type: ignore[arg-type] # as above
    with pytest.raises(errors.ApiError, match="the answer to GET /version cannot be read"):
        await read_cluster(Proxy())  # type: ignore[arg-type] # as above


async def test_the_metrics_are_those_of_each_operator_and_not_of_the_one_that_stands_by() -> None:
    """The Service leads to any replica; only the one that leads has something to tell."""

    class Two(Server):
        async def request(
            self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 0
        ) -> bytes:
            if path == "/api/v1/pods":
                port = {"name": "metrics", "containerPort": 18080}
                spec = {"containers": [{"name": "operator", "ports": [port]}]}
                pods = [{"metadata": {"namespace": "ops", "name": name}, "spec": spec} for name in ("a", "b")]
                return msgspec.json.encode({"items": pods})
            if path == "/api/v1/namespaces/ops/pods/b:18080/proxy/metrics":
                return b"leads 1"
            return await super().request(method, path, query=query)

    found = await collect(Two(), operator_in="ops")  # type: ignore[arg-type] # as above
    assert found.files["metrics/ops.b.txt"] == b"leads 1\n"
    assert "metrics.txt" not in found.files


def test_a_file_that_was_there_for_everybody_to_read_is_ours_alone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_bytes(b"older")
    file.chmod(0o644)
    monkeypatch.setattr("volumehealth.cli.support.read_with", lambda *_: Bundle({"a": b"b"}))
    assert CliRunner().invoke(support, ["-o", str(file)]).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_secrets_and_configmaps_are_never_asked_for() -> None:
    server = Server()
    await collect(server, operator_in="ops")  # type: ignore[arg-type] # as above
    assert not [path for path in server.asked if "secrets" in path or "configmaps" in path]


def test_a_word_is_masked_by_the_name_of_its_field() -> None:
    assert cleaned({"password": "hunter2", "name": "x", "list": [{"name": "token", "value": "y"}]}) == {
        "password": "***",
        "name": "x",
        "list": [{"name": "token", "value": "***"}],
    }
