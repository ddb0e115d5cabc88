"""Whole runs of the simulator: the same seed is the same history, and what was found once stays mended."""

from pathlib import Path

import pytest

from simulation.__main__ import child
from simulation.plan import Plan, make_plan

STORIES = sorted((Path(__file__).parent / "stories").glob("*.json"))


@pytest.mark.parametrize("agents", [False, True])
def test_the_same_seed_is_the_same_history_to_the_byte(agents: bool, tmp_path: Path) -> None:
    plan = make_plan(3, minutes=20.0, agents=agents)
    files = [tmp_path / "one", tmp_path / "other"]
    results = [child(plan, str(file)) for file in files]
    assert results[0]["digest"] == results[1]["digest"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert results[0]["checks"] > 50


def test_a_plan_can_be_written_down() -> None:
    plan = make_plan(5)
    assert Plan.load(plan.dump()) == plan


@pytest.mark.parametrize("story", STORIES, ids=[path.stem for path in STORIES])
def test_what_was_found_once_stays_mended(story: Path) -> None:
    plan = Plan.load(story.read_text(encoding="utf-8"))
    assert child(plan, "")["violations"] == []
