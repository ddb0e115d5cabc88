"""Objects that others write, through the view, a check and all that is told: none costs more than itself.

In: a cluster in which one object of each kind is odd, an API server in memory. Out: what the operator makes of it.
"""

from typing import Any

import msgspec

from fuzz.fuzzing import edited_json, fuzz
from volumehealth.model.clock import LATEST, LONG_AGO
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report_json import decode_report
from volumehealth.report.records import resume

SINCE = "2026-11-24T03:02:11Z"
FINDING = {
    "source": "Controller",
    "origins": ["Driver"],
    "via": "Operator",
    "status": "Inaccessible",
    "reason": "X",
    "message": "gone",
    "since": SINCE,
    "confirmed": SINCE,
    "lastNotifiedAt": SINCE,
    "episode": 2,
}
RECORDS = (
    {
        "health": "Unhealthy",
        "policy": "p",
        "driver": "d",
        "volume": "pv",
        "volumeHandle": "h",
        "findings": [FINDING, {**FINDING, "source": "Node", "node": "n", "origins": ["MountTable"]}],
        "owed": [
            {**FINDING, "output": "Events", "edge": "Normal", "time": SINCE, "pods": ["a"], "claim": True}
        ],
        "episodes": [{"source": "Controller", "status": "Inaccessible", "reason": "X", "count": 2}],
        "history": [{"time": SINCE, "what": "found"}],
    },
    {"health": "Recovered", "policy": "p", "recovered": SINCE, "findings": []},
)
CONDITION = {"status": "Degraded", "reason": "Slow", "message": "slow", "since": SINCE, "origin": "Driver"}
CLAIM = {"driver": "d", "volumeHandle": "h", "namespace": "shop", "claim": "a", "claimUID": "u"}
REPORTS = (
    {
        "node": "n",
        "plane": "Node",
        "drivers": [
            {"name": "d", "state": "Answering", "since": SINCE, "healthAPI": "Legacy", "methods": ["X"]}
        ],
        "volumes": [{**CLAIM, "conditions": [CONDITION], "pods": ["p"]}],
        "silent": [{**CLAIM, "reason": "CallFailed", "message": "m", "since": SINCE}],
        "coverage": [{"origin": "Driver", "driver": "d", "claims": ["u"], "digest": "x", "count": 1}],
        "storage": [{"driver": "d", "conditions": [CONDITION]}],
        "capacityWarnings": 1,
        "omitted": {"volumes": 1},
    },
)


@fuzz(edited_json(RECORDS))
def test_any_record_is_gone_on_from_or_left(status: Any) -> None:
    resumed = resume(ClaimRef("shop", "a"), "u", msgspec.json.encode(status))
    for finding in resumed.health.findings if resumed is not None else ():
        assert LONG_AGO <= finding.since <= LATEST


@fuzz(edited_json(REPORTS))
def test_any_report_of_an_agent_is_read(status: Any) -> None:
    for driver in decode_report("n", status).drivers:
        assert LONG_AGO <= driver.since <= LATEST
