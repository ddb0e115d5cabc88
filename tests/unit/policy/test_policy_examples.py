"""The examples are policies that work, and the use cases among them make of a driver's text what they say."""

from pathlib import Path

import pytest
import re2

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.model.policy import PolicySpec, RuleSet
from volumehealth.policy.files import policy_from_file
from volumehealth_sandbox.driver_faults import SYMPTOMS, Fault

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))
STATUSES = {pb.DEGRADED: "Degraded", pb.INACCESSIBLE: "Inaccessible", pb.DATA_LOSS: "DataLoss"}
USE_CASES = {
    "volume-deleted": Fault.VOLUME_DELETED,
    "disk-failure": Fault.DISK_FAILURE,
    "out-of-capacity": Fault.OUT_OF_CAPACITY,
    "degraded-performance": Fault.DEGRADED_PERFORMANCE,
    "io-errors": Fault.IO_ERRORS,
    "filesystem-corruption": Fault.FILESYSTEM_CORRUPTED,
    "unmounted": Fault.UNMOUNTED,
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_every_example_can_be_read(file: Path) -> None:
    assert policy_from_file(file).name


def test_names_are_distinct_so_that_all_can_be_applied() -> None:
    assert len({policy_from_file(file).name for file in FILES}) == len(FILES) >= 10


def test_the_smallest_is_the_smallest() -> None:
    assert policy_from_file(EXAMPLES / "smallest.yaml").spec == PolicySpec()


def test_there_is_one_for_every_use_case() -> None:
    assert {file.stem for file in (EXAMPLES / "use-cases").iterdir()} == set(USE_CASES)


@pytest.mark.parametrize("name", USE_CASES)
def test_a_use_case_makes_of_a_legacy_text_what_a_newer_driver_says(name: str) -> None:
    """Its first rule for texts that matches has the status and the reason that CSI 1.13 would give."""
    file = EXAMPLES / "use-cases" / f"{name}.yaml"
    symptom = SYMPTOMS[USE_CASES[name]]
    rules = [rule for rule in policy_from_file(file).spec.rules if rule.match.message]
    first = next(rule for rule in rules if re2.search(rule.match.message, symptom.message))
    assert first.set == RuleSet(STATUSES[symptom.status], symptom.reason)


@pytest.mark.parametrize("name", USE_CASES)
def test_a_use_case_tells_what_the_user_sees(name: str) -> None:
    symptom = SYMPTOMS[USE_CASES[name]]
    text = (EXAMPLES / "use-cases" / f"{name}.yaml").read_text()
    assert f"Warning  VolumeConditionAbnormal  {STATUSES[symptom.status]}/{symptom.reason} (" in text
