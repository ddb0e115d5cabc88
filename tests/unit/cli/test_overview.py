"""`volumehealth status`, `drivers` and `history`: what is wrong first, and loudly what is not watched."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from volumehealth import errors
from volumehealth.cli.overview import watched
from volumehealth.cli.overviewoutput import age, show_drivers, show_history, show_status
from volumehealth.model.ids import ClaimRef
from volumehealth.oneshot.overview import NO_POLICY, Overview, not_watched, read_overview, read_rest
from volumehealth.oneshot.reading import check_claim, read_items

NOW = datetime(2026, 11, 23, 3, 43, tzinfo=UTC)


def record(
    name: str, status: str = "Inaccessible", *, health: str = "Unhealthy", since: int = 41
) -> dict[str, Any]:
    moment = (NOW - timedelta(minutes=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    finding = {
        "source": "Node",
        "node": "worker-2",
        "status": status,
        "reason": "IOError",
        "message": "reads fail",
        "since": moment,
    }
    findings = [] if health == "Recovered" else [finding]
    history = [{"time": moment, "what": f"{status}/IOError (Node worker-2): reads fail"}]
    body = {
        "health": health,
        "since": moment,
        "driver": "d.example.com",
        "volumeHandle": "h",
        "pods": ["db-0"],
    }
    return {
        "metadata": {"namespace": "shop", "name": name},
        "status": body | {"findings": findings, "history": history},
    }


def policy(name: str = "storage", *, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    told = {"lastCheckTime": "2026-11-23T03:42:00Z", "claims": {"selected": 10}} | status
    return {"metadata": {"name": name}, "spec": spec or {}, "status": told}


def shown(result: Overview, form: str = "table", width: int = 80) -> str:
    return show_status(result, form, now=NOW, width=width, color=False)


class Server:
    """An API server that holds some lists, and forbids others."""

    no_namespace: errors.ApiError = errors.NotFound("namespaces not found")

    def __init__(self, **lists: list[dict[str, Any]] | Exception) -> None:
        self.lists = lists

    async def request(self, method: str, path: str, *, query: dict[str, str] | None = None) -> bytes:
        if path == "/version":
            return msgspec.json.encode({"gitVersion": "v1.37.2"})
        if path == "/api/v1/namespaces/shop":
            return msgspec.json.encode({"metadata": {"name": "shop"}})
        if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:
            raise self.no_namespace
        found = self.lists.get(path.rpartition("/")[2], [])
        if isinstance(found, Exception):
            raise found
        return msgspec.json.encode({"items": found, "metadata": {}})


async def read(server: Server, namespace: str = "") -> Overview:
    return await read_overview(server, namespace=namespace, now=NOW)  # type: ignore[arg-type]  # as much as is used


async def test_the_worst_comes_first_and_the_next_command_is_about_it() -> None:
    records = [record("slow", "Degraded", since=90), record("lost", "DataLoss", since=3), record("gone")]
    result = await read(Server(volumehealths=records, volumehealthpolicies=[policy()]))
    page = shown(result)
    assert [one["metadata"]["name"] for one in result.unhealthy] == ["lost", "gone", "slow"]
    assert "Next: kubectl describe vh lost -n shop" in page
    assert result.exit_status == 1


async def test_of_two_records_of_one_severity_the_one_that_may_cost_data_comes_first() -> None:
    waits, corrupt = record("waits", since=90), record("corrupt", since=5)
    waits["status"]["findings"][0]["reason"] = "NodeFailed"
    corrupt["status"]["findings"][0]["reason"] = "FilesystemCorrupted"
    result = await read(Server(volumehealths=[waits, corrupt]))
    assert [one["metadata"]["name"] for one in result.records] == ["corrupt", "waits"]


async def test_what_recovered_is_not_shown_as_unhealthy() -> None:
    result = await read(
        Server(volumehealths=[record("db", health="Recovered")], volumehealthpolicies=[policy()])
    )
    assert result.exit_status == 0
    assert shown(result) == "No claim is unhealthy.\n"


async def test_a_cluster_without_a_policy_is_not_called_healthy() -> None:
    result = await read(Server())
    assert result.loud == (NO_POLICY,)
    assert result.exit_status == 3
    assert shown(result).startswith("NOTHING IS CHECKED")


@pytest.mark.parametrize("answer", [errors.NotFound("no such kind"), errors.NotServed("404 page not found")])
async def test_a_cluster_without_the_api_says_so(answer: errors.ApiError) -> None:
    """The API server itself says 404 without a Status for a group that it does not serve."""
    result = await read(Server(volumehealths=answer))
    assert not result.installed
    assert shown(result).startswith("NOT INSTALLED")
    assert result.exit_status == 3


async def test_a_proxy_that_answers_404_is_no_cluster_without_the_api() -> None:
    class Proxy(Server):
        async def request(self, method: str, path: str, *, query: dict[str, str] | None = None) -> bytes:
            raise errors.NotServed(f"{method} {path}: HTTP 404, and not by the API server's own word")

    with pytest.raises(errors.NotServed):
        await read(Proxy())


async def test_a_policy_that_selects_nothing_is_not_called_healthy() -> None:
    nothing = {
        "type": "VolumesHealthy",
        "status": "Unknown",
        "reason": "NothingSelected",
        "message": "a typo?",
    }
    told = policy(claims={"selected": 0}, conditions=[nothing])
    result = await read(Server(volumehealthpolicies=[told]))
    assert result.exit_status == 3
    assert shown(result) == "storage: NOTHING SELECTED: a typo?\n"


async def test_what_a_policy_calls_unhealthy_is_unhealthy_without_a_record() -> None:
    """Records may be refused to the operator, or be removed by hand."""
    told = policy(claims={"selected": 10, "unhealthy": 3}, summary=["UNHEALTHY 3 of 10 monitored claims"])
    result = await read(Server(volumehealths=[record("db")], volumehealthpolicies=[told]))
    assert result.loud == ("NOT RECORDED: 2 unhealthy claims without a record; see: kubectl describe vhp",)
    result = await read(Server(volumehealthpolicies=[told]))
    assert result.exit_status == 1
    assert "No claim" not in shown(result)


async def test_of_one_namespace_nothing_is_said_that_is_of_others() -> None:
    problem = {
        "driver": "d.example.com",
        "status": "DataLoss",
        "reason": "X",
        "claims": 3,
        "example": "ci/db",
    }
    told = policy(claims={"selected": 10, "unhealthy": 3}, summary=["UNHEALTHY 3 of 10"], problems=[problem])
    result = await read(Server(volumehealthpolicies=[told]), "shop")
    assert result.exit_status == 0
    assert shown(result) == "No claim of namespace shop is unhealthy.\n"
    result = await read(Server(volumehealths=[record("db")], volumehealthpolicies=[told]), "shop")
    assert "Next: kubectl describe vh db -n shop" in shown(result)
    assert "DataLoss" not in shown(result)


async def test_a_namespace_that_does_not_exist_is_not_called_healthy() -> None:
    server = Server(volumehealthpolicies=[policy()])
    with pytest.raises(errors.NotFound, match="the namespace shpo does not exist"):
        await read(server, "shpo")


async def test_a_namespace_that_may_not_be_read_is_shown_as_far_as_its_records_may() -> None:
    server = Server(volumehealthpolicies=[policy()])
    server.no_namespace = errors.Forbidden("namespaces is forbidden")
    assert (await read(server, "ship")).exit_status == 0


async def test_where_policies_are_out_of_sight_nothing_is_called_healthy() -> None:
    forbidden = errors.Forbidden("policies is forbidden")
    server = Server(volumehealthpolicies=forbidden, volumehealthdrivers=forbidden)
    result = await read(server, "shop")
    assert result.exit_status == 3
    assert shown(result).endswith("No claim of namespace shop is known to be unhealthy.\n")


async def test_a_list_that_grew_too_old_between_two_pages_is_read_anew() -> None:
    class Compacted(Server):
        async def request(self, method: str, path: str, *, query: dict[str, str] | None = None) -> bytes:
            query = query or {}
            if query.get("continue"):
                raise errors.Gone("the provided continue parameter is too old")
            more = {"continue": "next"} if "limit" in query else {}
            found = [record("a")] if more else [record("a"), record("b")]
            return msgspec.json.encode({"items": found, "metadata": more})

    found = await read_items(Compacted(), "/apis/volumehealth.dev/v1alpha1/volumehealths")  # type: ignore[arg-type]
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]


@pytest.mark.parametrize(("ago", "late"), [(70, False), (90, True)])
def test_a_policy_that_is_checked_once_an_hour_is_late_after_more_than_an_hour(ago: int, late: bool) -> None:
    last = (NOW - timedelta(minutes=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = policy(spec={"interval": "1h10m"}, lastCheckTime=last)
    assert bool(not_watched([told], NOW)) is late


async def test_what_was_written_before_the_checks_ended_is_not_shown_as_if_it_were_said_now() -> None:
    old = policy(lastCheckTime="2026-11-22T03:00:00Z")
    server = Server(volumehealthpolicies=[old, policy("other")])
    rest = await read_rest(server, now=NOW, policy="storage")  # type: ignore[arg-type]
    assert await read_rest(server, now=NOW, policy="other") == []  # type: ignore[arg-type]
    driver = {"metadata": {"name": "d.example.com"}, "status": {"state": "Answering"}}
    for page in (
        show_drivers([driver], "table", rest=rest, width=80, color=False),
        show_history(record("db"), "shop/db", "table", rest=rest, width=80, color=False),
    ):
        assert page.startswith("storage: NOT CHECKED since 2026-11-22T03:00:00Z")


async def test_a_claim_that_does_not_exist_is_not_said_to_be_healthy() -> None:
    gone, hidden = errors.NotFound("no such claim"), errors.Forbidden("claims is forbidden")
    with pytest.raises(errors.NotFound, match="the claim shop/typo does not exist"):
        await check_claim(Server(typo=gone), ClaimRef("shop", "typo"))  # type: ignore[arg-type]
    await check_claim(Server(typo=hidden), ClaimRef("shop", "typo"))  # type: ignore[arg-type]


async def test_someone_who_may_see_one_namespace_sees_its_records_and_is_told_what_is_missing() -> None:
    forbidden = errors.Forbidden("policies is forbidden")
    server = Server(
        volumehealths=[record("db")], volumehealthpolicies=forbidden, volumehealthdrivers=forbidden
    )
    page = shown(await read(server, "shop"))
    assert "Policies are out of your sight: this shows the records of namespace shop only." in page
    assert "db" in page


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"lastCheckTime": "2026-11-23T03:00:00Z"}, "NOT CHECKED since 2026-11-23T03:00:00Z"),
        ({"lastCheckTime": None}, "NOT CHECKED: does the operator run?"),
        ({"lastCheckTime": "nonsense"}, "NOT CHECKED"),
        ({"lastCheckTime": "2026-11-23T04:00:00Z"}, "CLOCKS DIFFER: it was checked at 2026-11-23T04:00:00Z"),
        ({"claims": {"selected": 10, "unknown": 4}}, "UNKNOWN: 4 of 10 claims"),
        ({"claims": {"selected": 10, "unmonitored": 10}}, "NOT MONITORED: 10 of 10 claims"),
        (
            {"conditions": [{"type": "Ready", "status": "False", "message": "spec.rules: bad"}]},
            "INVALID SPEC",
        ),
        (
            {"conditions": [{"type": "SourcesAvailable", "status": "False", "message": "d"}]},
            "SOURCE DOES NOT",
        ),
        ({"spec": {"suspend": True}}, "SUSPENDED"),
    ],
)
def test_what_is_not_watched_is_said_loudly(changes: dict[str, Any], word: str) -> None:
    (line,) = not_watched([policy(**changes)], NOW)
    assert line.startswith(f"storage: {word}")


def test_a_watched_healthy_policy_makes_no_noise() -> None:
    assert not_watched([policy()], NOW) == []


@pytest.mark.parametrize("form", ["table", "wide"])
def test_tables_fit_eighty_columns_and_grow(form: str) -> None:
    result = Overview([policy()], [], [record("a-claim-with-a-rather-long-name-of-its-own-0")])
    narrow = shown(result, form)
    assert max(map(len, narrow.splitlines())) <= 80
    assert len(shown(result, form, width=200).splitlines()) <= len(narrow.splitlines())


@pytest.mark.parametrize(("until", "word"), [("2026-11-23T06:00:00Z", True), ("2026-11-23T03:00:00Z", False)])
def test_of_one_namespace_too_a_silence_that_holds_is_shown(until: str, word: bool) -> None:
    quiet = record("db")
    quiet["status"]["silenced"] = {"until": until, "by": "the claim"}
    page = shown(Overview([policy()], [], [quiet], namespace="shop"))
    assert ("Unhealthy (silenced)" in page) is word


def test_data_forms_hold_everything_for_programs() -> None:
    result = Overview([policy()], [], [record("db")], loud=("storage: UNKNOWN: 1 of 2 claims",))
    data = json.loads(shown(result, "json"))
    assert data["notWatched"] == ["storage: UNKNOWN: 1 of 2 claims"]
    assert data["records"][0]["metadata"]["name"] == "db"


def test_a_driver_is_shown_with_its_next_step() -> None:
    status = {
        "state": "Unsupported",
        "healthAPI": "None",
        "claims": {"selected": 7},
        "hint": "install the node agent",
    }
    page = show_drivers(
        [{"metadata": {"name": "ebs.csi.aws.com"}, "status": status}], "table", width=80, color=False
    )
    assert "ebs.csi.aws.com: install the node agent" in page


def test_a_wide_table_of_drivers_says_since_when_and_by_which_calls() -> None:
    status = {
        "state": "Answering",
        "since": "2026-11-20T03:02:00Z",
        "methods": ["ListVolumes", "NodeGetVolumeStats"],
    }
    drivers = [{"metadata": {"name": "d.example.com"}, "status": status}]
    page = show_drivers(drivers, "wide", width=160, color=False)
    assert "2026-11-20T03:02:00Z  ListVolumes, NodeGetVolumeStats" in page
    assert "ListVolumes" not in show_drivers(drivers, "table", width=160, color=False)


def test_history_is_a_timeline_and_a_claim_without_a_record_is_explained() -> None:
    page = show_history(record("db"), "shop/db", "table", width=80, color=False)
    assert "2026-11-23T03:02:00Z  Inaccessible/IOError (Node worker-2): reads fail" in page
    assert "has no record" in show_history(None, "shop/x", "table", width=80, color=False)


def test_a_record_whose_fields_are_not_there_is_no_traceback() -> None:
    bare = {"metadata": {"namespace": "shop", "name": "db"}, "status": {"findings": [{}], "history": [{}]}}
    assert show_history(bare, "shop/db", "table", width=80, color=False).startswith("shop/db: ")


@pytest.mark.parametrize(
    ("since", "written"), [(5, "5s"), (119, "119s"), (300, "5m"), (11000, "3h"), (200000, "2d")]
)
def test_ages_are_written_as_kubectl_writes_them(since: int, written: str) -> None:
    moment = (NOW - timedelta(seconds=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert age(moment, NOW) == written


def test_who_watches_goes_on_to_while_the_api_server_is_away() -> None:
    answers: list[str | errors.ApiError] = ["one", errors.ApiUnreachable("nobody listens"), "two"]
    pauses: list[float] = []

    def look() -> str:
        answer = answers.pop(0)
        if isinstance(answer, errors.ApiError):
            raise answer
        return answer

    seen = watched(look, pauses.append)
    assert [next(seen) for _ in range(3)] == [
        ("one", ""),
        ("one", "CANNOT BE READ NOW, this is what was seen last: nobody listens"),
        ("two", ""),
    ]
    assert pauses == [2.0, 2.0]


def test_ages_of_nonsense_and_of_the_future_are_harmless() -> None:
    assert age("nonsense", NOW) == ""
    assert age("2027-01-01T00:00:00Z", NOW) == "0s"


def test_the_commands_load_neither_grpc_nor_kopf() -> None:
    code = (
        "import sys, volumehealth.cli.main, volumehealth.cli.overview, volumehealth.cli.overviewoutput, "
        "volumehealth.oneshot.overview; print([one for one in ('grpc', 'kopf', 'kubernetes') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


STEERING = "bad \x1b[31mred\x1b]0;title\x07 \u202etxt \x9b2J\rhealthy"


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml"])
def test_a_text_of_others_steers_no_terminal(form: str) -> None:
    """Who may write a record must not repaint the screen of who reads it."""
    bad = record("orders-db")
    bad["status"]["findings"][0]["message"] = bad["status"]["history"][0]["what"] = STEERING
    told = policy(summary=[STEERING], conditions=[{"type": "Ready", "status": "False", "message": STEERING}])
    driver = {"metadata": {"name": "d.example.com"}, "status": {"state": STEERING, "message": STEERING}}
    pages = (
        shown(Overview([told], [], [bad], loud=tuple(not_watched([told], NOW))), form),
        show_history(bad, "shop/orders-db", form, width=80, color=False),
        show_drivers([driver], form, width=80, color=False),
    )
    for page in pages:
        assert all(line.isprintable() for line in page.split("\n"))
        assert "red" in page
    if form == "json":
        assert json.loads(pages[1]) == bad


@pytest.mark.parametrize("words", ["cannot read [/dev/sdb]: I/O error", "[bold]x[/bold] of :key:"])
def test_texts_of_others_are_printed_as_they_are_whatever_they_look_like(words: str) -> None:
    """Rich takes square brackets for markup, and a path in them for the end of one that never began."""
    bad = record("orders-db")
    bad["status"]["findings"][0]["message"] = words
    assert words in shown(Overview([policy()], [], [bad]), "wide", width=250)
    assert words in show_history(bad, "shop/orders-db", "table", width=250, color=False)
    driver = {"metadata": {"name": "d.example.com"}, "status": {"state": "Answering", "message": words}}
    assert words in show_drivers([driver], "table", width=250, color=False)
