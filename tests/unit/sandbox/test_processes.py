"""Programs end when they should, and nobody else's process is ever signalled."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.processes import Program, Running, recorded, tail

SLEEPS = (sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)",
)


def make(home: Path, command: tuple[str, ...], *, detached: bool = False) -> Program:
    return Program("thing", lambda: command, home=home, detached=detached)


def await_word(program: Program) -> None:
    """Wait until the program has said its word; pytest's time limit ends this if it never does."""
    while "here" not in program.tail():
        program.check_alive()
        Running(os.getpid(), 0).wait(0)


@pytest.mark.parametrize("detached", [False, True])
def test_a_program_runs_until_it_is_stopped(tmp_path: Path, detached: bool) -> None:
    program = make(tmp_path, SLEEPS, detached=detached)
    program.start()
    assert program.alive
    program.stop()
    assert not program.alive
    assert not program.pid_file.exists()


def test_one_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    program = make(tmp_path, STUBBORN)
    program.start()
    await_word(program)
    program.stop(grace=0.05)
    assert program.exit_status == -signal.SIGKILL


def test_starting_twice_starts_one(tmp_path: Path) -> None:
    program = make(tmp_path, SLEEPS)
    program.start()
    first = program.running
    program.start()
    assert program.running == first
    program.stop()


def test_another_handle_on_the_same_directory_finds_and_stops_it(tmp_path: Path) -> None:
    program = make(tmp_path, SLEEPS)
    program.start()
    make(tmp_path, SLEEPS).stop()
    assert not program.alive
    program.stop()


def test_stopping_what_never_ran_is_fine(tmp_path: Path) -> None:
    make(tmp_path, SLEEPS).stop()


def test_one_that_ends_by_itself_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    program = make(tmp_path, ("sh", "-c", "echo first; echo no such flag >&2; exit 3"))
    program.start()
    assert program.running is None or program.running.wait(10)
    with pytest.raises(SandboxError, match=r"(?s)exit status 3.*no such flag"):
        program.check_alive()


def test_one_that_cannot_be_started_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="thing cannot be started"):
        make(tmp_path, ("/does/not/exist",), detached=True).start()


def test_a_program_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = (
        "import os, signal, sys; from pathlib import Path; from volumehealth_sandbox.processes import Program\n"
        "program = Program('thing', lambda: ('sleep', '600'), home=Path(sys.argv[1]))\n"
        "program.start(); print(program.pid_file.read_text(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", starter, str(tmp_path)], capture_output=True, text=True, check=False
    )
    row = json.loads(done.stdout)
    assert Running(row["pid"], row["born"]).wait(10)


def test_a_pid_that_went_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "x.json"
    pid_file.write_text(json.dumps({"pid": os.getpid(), "born": 1}))
    assert recorded(pid_file) is None
    Running(os.getpid(), 1).signal(signal.SIGKILL)  # we would not get any further


@pytest.mark.parametrize("text", ["", "[]", '{"pid": 1}', "nonsense"])
def test_a_damaged_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert recorded(tmp_path / "x.json") is None


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == "    (nothing)"
    log.write_text("one\ntwo\nthree\n")
    assert tail(log, 2) == "    two\n    three"
