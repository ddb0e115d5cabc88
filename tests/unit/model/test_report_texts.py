"""What an agent says is untrusted text, in every field of its report that people read."""

import pytest

from volumehealth.model.report_json import decode_report
from volumehealth.model.text import MESSAGE_BYTES

HOSTILE = "password=hunter2 \x1b[2J\n\u202e" + "x" * 100_000
ENTRY = {"driver": "d.example", "volumeHandle": "v", "claim": "data", "claimUID": "u", "message": HOSTILE}
REPORTS = {
    "a driver's message": {"drivers": [{"name": "d.example", "message": HOSTILE}]},
    "its hint": {"drivers": [{"name": "d.example", "hint": HOSTILE}]},
    "its storage": {
        "drivers": [{"name": "d", "storage": [{"status": "X", "reason": "R", "message": HOSTILE}]}]
    },
    "a condition": {
        "volumes": [ENTRY | {"conditions": [{"status": "Degraded", "reason": "R", "message": HOSTILE}]}]
    },
    "a silence": {"silent": [ENTRY | {"reason": "R"}]},
    "a look that is missing": {"missing": [ENTRY]},
    "what is not seen": {"limits": [ENTRY]},
    "an observer that cannot look": {"unseen": [{"origin": "MountTable", "message": HOSTILE}]},
}


@pytest.mark.parametrize("status", REPORTS.values(), ids=REPORTS.keys())
def test_it_is_cleaned_masked_and_bounded(status: dict[str, object]) -> None:
    read = repr(decode_report("worker-1", status))
    assert "password=*** " in read
    assert "hunter2" not in read
    assert not any(mark in read for mark in ("\\x1b", "\\n", "\\u202e"))
    assert len(read) < MESSAGE_BYTES + 2048
