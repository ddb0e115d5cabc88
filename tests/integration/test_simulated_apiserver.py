"""The API server of the simulator beside the real one: the same random requests, the same answers.

In: seeds. Each makes a sequence of writes and reads of the objects that the product writes; uids and versions are taken
from the side that is asked. Out: HTTP status, reason, and what is in the answers, without what is each server's own.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from simulation.apiserver import ApiServer, Watch, path_of
from volumehealth.kube.aiohttp_transport import AiohttpTransport
from volumehealth.kube.credentials import CredentialSource
from volumehealth.kube.transport import HttpRequest
from volumehealth_sandbox.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

Json = dict[str, Any]
Read = Callable[[HttpRequest], Awaitable[tuple[int, bytes]]]
_OWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink")
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"


@dataclass
class Side:
    """One of the two servers, with what it answered last of each object."""

    read: Read
    known: dict[str, Json] = field(default_factory=dict)

    async def ask(self, command: "Command") -> tuple[int, Any]:
        """Send a command and return what is comparable of the answer."""
        status, body = await self.read(self._request(command))
        answer = json.loads(body)
        if status < 300 and command.method in ("POST", "PUT", "PATCH", "GET") and command.name:
            self.known[f"{command.plural}/{command.name}"] = answer
        return status, comparable(answer)

    def _request(self, command: "Command") -> HttpRequest:
        before = self.known.get(f"{command.plural}/{command.name}", {}).get("metadata", {})
        body = command.body
        if body is not None:
            body = json.loads(
                json.dumps(body)
                .replace("$UID", before.get("uid", "00000000-0000-0000-0000-000000000000"))
                .replace("$VERSION", before.get("resourceVersion", "1"))
            )
        headers = {"Content-Type": command.form, "Accept": command.accept or "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        return HttpRequest(command.method, command.path, command.query, headers, data)


@dataclass(frozen=True)
class Command:
    """A request in which `$UID` and `$VERSION` stand for what the asked side said of the object last."""

    method: str
    path: str
    plural: str
    name: str = ""
    body: Json | None = None
    query: dict[str, str] = field(default_factory=dict)
    form: str = "application/json"
    accept: str = ""


def comparable(answer: Any) -> Any:
    """Leave out what is each server's own, and of a Status all but its reason."""
    if not isinstance(answer, dict):
        return answer
    if answer.get("kind") == "Status":
        return {"reason": answer.get("reason"), "status": answer.get("status")}
    if "items" in answer:
        items = [comparable(one) for one in answer["items"]] if answer["items"] is not None else None
        more = bool(answer["metadata"].get("continue"))
        return {"kind": answer["kind"], "items": items, "more": more}
    metadata = {name: value for name, value in answer.get("metadata", {}).items() if name not in _OWN}
    rest = {name: value for name, value in answer.items() if name not in ("metadata", "kind", "apiVersion")}
    return {"metadata": metadata, **{name: value for name, value in rest.items() if value or value == 0}}


class Commands:
    """Makes a random sequence."""

    def __init__(self, random: Random, namespace: str, prefix: str) -> None:
        self._random = random
        self._namespace = namespace
        self._prefix = prefix

    def many(self, number: int) -> Iterator[Command]:
        """Yield so many commands."""
        for _ in range(number):
            yield self._random.choice((self._record, self._record, self._event, self._lease, self._policy))()

    def _one(self, method: str, plural: str, name: str, body: Json | None, **more: Any) -> Command:
        home = "" if plural == "volumehealthpolicies" else self._namespace
        sub = more.pop("sub", "")
        path = path_of(plural, home, "" if method == "POST" else name, sub)
        return Command(method, path, plural, name, body, **more)

    def _name(self) -> str:
        return f"{self._prefix}-{self._random.choice('abc')}"

    def _metadata(self, name: str, **more: Any) -> Json:
        return {"name": name, "namespace": self._namespace, **more}

    def _record(self) -> Command:
        random, name = self._random, self._name()
        metadata = self._metadata(name, **random.choice(({}, {"labels": {"a": random.choice("xy")}})))
        findings = [
            {"source": "Controller", "status": "Degraded", "reason": reason, "since": "2026-01-01T00:00:00Z"}
            for reason in random.sample(("One", "Two", "Three"), random.randint(0, 2))
        ]
        status = {"health": random.choice(("Unhealthy", "Unknown")), "policy": "p", "findings": findings}
        if random.random() < 0.5:
            status["message"] = random.choice(("m", "n"))
        applied = {
            "apiVersion": "volumehealth.dev/v1alpha1",
            "kind": "VolumeHealth",
            "metadata": metadata,
            "status": status,
        }
        query = {"fieldManager": random.choice(("volumehealth", "volumehealth", "other")), "force": "true"}
        match random.randrange(9):
            case 0 | 1 | 2:
                return self._one("PATCH", "volumehealths", name, applied, query=query, form=_APPLY)
            case 3:
                applied["metadata"] = {**metadata, "uid": "$UID"}
                return self._one("PATCH", "volumehealths", name, applied, query=query, form=_APPLY)
            case 4:
                patch = {
                    "status": random.choice(({"message": None}, {"findings": None}, {"health": "Edited"}))
                }
                return self._one("PATCH", "volumehealths", name, patch, form=_MERGE)
            case 5:
                conditions = random.choice(
                    (
                        {},
                        {"preconditions": {"uid": "$UID"}},
                        {"preconditions": {"resourceVersion": "$VERSION"}},
                    )
                )
                return self._one("DELETE", "volumehealths", name, conditions)
            case 6:
                return self._one("GET", "volumehealths", name, None)
            case 7:
                return self._one("GET", "volumehealths", "", None, query={"limit": "2"})
            case _:
                return self._one("GET", "volumehealths", "", None, query={"labelSelector": "a=x"})

    def _event(self) -> Command:
        random, name = self._random, self._name()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": self._metadata(name),
            "involvedObject": {"kind": "Pod", "namespace": self._namespace, "name": "p"},
            "reason": "Because",
            "message": "m",
            "count": 1,
        }
        match random.randrange(4):
            case 0:
                return self._one("POST", "events", name, event)
            case 1:
                patch = {"metadata": {"uid": "$UID"}, "count": random.randint(1, 3)}
                return self._one("PATCH", "events", name, patch, form=_MERGE)
            case 2:
                return self._one("PATCH", "events", name, {"count": 7}, form=_MERGE)
            case _:
                return self._one("DELETE", "events", name, {})

    def _lease(self) -> Command:
        random, name = self._random, self._name()
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": self._metadata(name),
            "spec": {"holderIdentity": random.choice("xyz"), "leaseDurationSeconds": 15},
        }
        match random.randrange(5):
            case 0:
                return self._one("POST", "leases", name, lease)
            case 1:
                lease["metadata"] = self._metadata(name, resourceVersion="$VERSION", uid="$UID")
                return self._one("PUT", "leases", name, lease)
            case 2:
                lease["metadata"] = self._metadata(name, resourceVersion="$VERSION")
                return self._one("PUT", "leases", name, lease)
            case 3:
                return self._one("GET", "leases", name, None)
            case _:
                return self._one("DELETE", "leases", name, {})

    def _policy(self) -> Command:
        random, name = self._random, self._name()
        match random.randrange(6):
            case 0:
                policy = {
                    "apiVersion": "volumehealth.dev/v1alpha1",
                    "kind": "VolumeHealthPolicy",
                    "metadata": {"name": name},
                    "spec": {},
                }
                return self._one("POST", "volumehealthpolicies", name, policy)
            case 1:
                patch: Json = {"spec": {"interval": random.choice(("10s", "20s"))}}
                return self._one("PATCH", "volumehealthpolicies", name, patch, form=_MERGE)
            case 2:
                patch = {"status": {"observedGeneration": random.randint(1, 3)}}
                return self._one("PATCH", "volumehealthpolicies", name, patch, form=_MERGE, sub="status")
            case 3:
                patch = {
                    "metadata": {"uid": "$UID"},
                    "spec": {"interval": "30s"},
                    "status": {"summary": ["s"]},
                }
                sub = random.choice(("", "status"))
                return self._one("PATCH", "volumehealthpolicies", name, patch, form=_MERGE, sub=sub)
            case 4:
                return self._one("GET", "volumehealthpolicies", name, None)
            case _:
                return self._one("DELETE", "volumehealthpolicies", name, {})


@pytest.fixture
async def real(control_plane: ControlPlane) -> AsyncIterator[Read]:
    source = CredentialSource(str(control_plane.kubeconfig))
    access = await source.load()
    transport = AiohttpTransport(access)

    async def read(request: HttpRequest) -> tuple[int, bytes]:
        status, body = await once(request)
        while status == 429:  # its storage of a new resource is not ready yet
            await asyncio.sleep(0.5)
            status, body = await once(request)
        return status, body

    async def once(request: HttpRequest) -> tuple[int, bytes]:
        headers = {**request.headers, "Authorization": access.authorization}
        answer = await transport.send(replace(request, headers=headers), access)
        body = b""
        while chunk := await answer.chunk():
            body += chunk
        answer.abort()
        return answer.status, body

    yield read
    await transport.aclose()


@pytest.fixture
def simulated(namespace: str) -> Read:
    """The simulator's server, with the namespace."""
    server = ApiServer(Random(1), lambda: datetime(2026, 11, 24, tzinfo=UTC))
    for name in ("default", namespace):
        body = json.dumps({"metadata": {"name": name}}).encode()
        server.answer("admin", "POST", "/api/v1/namespaces", {}, body, {})

    async def read(request: HttpRequest) -> tuple[int, bytes]:
        reply = server.answer(
            "admin", request.method, request.path, request.query or {}, request.body, request.headers
        )
        if isinstance(reply, Watch):
            return 200, b"".join(reply.backlog)
        return reply.status, reply.body

    return read


@pytest.mark.parametrize("seed", range(8))
async def test_random_requests_get_the_same_answers(
    seed: int, real: Read, simulated: Read, namespace: str
) -> None:
    sides = Side(real), Side(simulated)
    differences = []
    for number, command in enumerate(Commands(Random(seed), namespace, f"s{seed}-{namespace}").many(120)):
        expected, found = [await side.ask(command) for side in sides]
        if expected != found:
            differences.append((number, command, expected, found))
    assert not differences, "\n".join(map(str, differences[:5]))


async def test_a_metadata_list_of_nothing_is_the_same(real: Read, simulated: Read, namespace: str) -> None:
    path = path_of("volumehealths", namespace)
    request = HttpRequest("GET", path, {}, {"Accept": _METADATA_LIST}, None)
    expected, found = [json.loads((await one(request))[1]) for one in (real, simulated)]
    assert comparable(expected) == comparable(found)


async def test_pages_go_on_from_the_version_of_the_first(real: Read, simulated: Read, namespace: str) -> None:
    assert await _pages(real, namespace) == [["a", "b"], ["c", "d"], ["e"]]
    assert await _pages(simulated, namespace) == [["a", "b"], ["c", "d"], ["e"]]


async def _pages(one: Read, namespace: str) -> list[list[str]]:
    """Read five objects in pages, while the last of them is deleted."""
    side, path = Side(one), path_of("volumehealths", namespace)
    for name in "abcde":
        record = {
            "apiVersion": "volumehealth.dev/v1alpha1",
            "kind": "VolumeHealth",
            "metadata": {"name": name, "namespace": namespace},
        }
        await side.ask(Command("POST", path, "volumehealths", name, record))
    seen, token = [], ""
    while True:
        query = {"limit": "2", **({"continue": token} if token else {})}
        page = json.loads((await one(HttpRequest("GET", path, query, {}, None)))[1])
        seen.append([item["metadata"]["name"] for item in page["items"]])
        token = page["metadata"].get("continue", "")
        await one(HttpRequest("DELETE", path_of("volumehealths", namespace, "e"), {}, {}, None))
        if not token:
            return seen


async def test_a_watch_tells_the_same_changes(real: Read, simulated: Read, namespace: str) -> None:
    expected, found = [await _changes(one, namespace) for one in (real, simulated)]
    assert expected == found
    assert len(expected) > 5


async def _changes(one: Read, namespace: str) -> list[tuple[str, str]]:
    """Return the kinds and names of the changes that a watch tells of a random sequence."""
    path = path_of("volumehealths", namespace)
    start = json.loads((await one(HttpRequest("GET", path, {}, {}, None)))[1])
    side = Side(one)
    for command in Commands(Random(77), namespace, "w").many(120):
        if command.plural == "volumehealths":
            await side.ask(command)
    since = start["metadata"]["resourceVersion"]
    query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": "2", "labelSelector": "a=x"}
    lines = (await one(HttpRequest("GET", path, query, {}, None)))[1].splitlines()
    changes = [json.loads(line) for line in lines]
    return [(change["type"], change["object"]["metadata"]["name"]) for change in changes]
