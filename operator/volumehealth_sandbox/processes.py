"""Programs that the sandbox starts: their logs, their pids, and their end.

A program either dies with this process (tests) or outlives it (`sandbox up`); in both cases its pid is on file,
with the moment it was born, so that a pid that the kernel gave to somebody else is never signalled.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from volumehealth.errors import SandboxError

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")

# The kernel's parent-death signal follows the *thread* that forked, so that thread must live as long as we do.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-spawner")


@dataclass(frozen=True, slots=True)
class Running:
    """A process for sure: its pid and when it was born, in clock ticks since the machine's boot."""

    pid: int
    born: int

    @property
    def alive(self) -> bool:
        """True if this very process still runs."""
        return _born(self.pid) == self.born

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if the process is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for its end; True if it ended."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return not self.alive or bool(poll.poll(timeout * 1000))
        finally:
            os.close(fd)

    def end(self, *, grace: float) -> None:
        """Ask it to end, and after `grace` seconds end it."""
        self.signal(signal.SIGTERM)
        if not self.wait(grace):
            self.signal(signal.SIGKILL)
            self.wait(10.0)


def _born(pid: int) -> int:
    """Read when a process was born; 0 if it is gone or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def running_process(pid: int) -> Running | None:
    """Give the process that has a pid now; None if there is none."""
    born = _born(pid)
    return Running(pid, born) if born else None


def recorded(pid_file: Path) -> Running | None:
    """Read the process of a pid file; None if there is none or it has ended."""
    try:
        row = json.loads(pid_file.read_text())
        running = Running(pid=int(row["pid"]), born=int(row["born"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return running if running.alive else None


class Program:
    """One program of the sandbox.

    Args:
        name: of its log and pid files, and in messages.
        command: gives the command line when it is started.
        home: directory that holds `logs/` and `pids/`.
        detached: True if it shall outlive this process.
        environment: variables beside our own.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str | Path]],
        *,
        home: Path,
        detached: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = home / "logs" / f"{name}.log"
        self.pid_file = home / "pids" / f"{name}.json"
        self._command = command
        self._detached = detached
        self._environment = dict(environment or {})
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def running(self) -> Running | None:
        """The process, also if another process of ours started it; None if it does not run."""
        if self._child is not None:
            self._child.poll()  # reaps it, so that it is no zombie
        return recorded(self.pid_file)

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self.running is not None

    @property
    def exit_status(self) -> int | None:
        """The exit status if we started it and it has ended; a negative number is a signal."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start it; its output is appended to its log.

        Raises:
            SandboxError: if it cannot be started.
        """
        with self._lock:
            if self.alive:
                return
            for directory in (self.log.parent, self.pid_file.parent):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            command = tuple(map(str, self._command()))
            try:
                self._child = _SPAWNER.submit(self._spawn, command).result()
            except OSError as error:
                raise SandboxError(f"{self.name} cannot be started: {error}") from error
            row = {"pid": self._child.pid, "born": _born(self._child.pid), "command": command}
            self.pid_file.write_text(json.dumps(row))

    def _spawn(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        if not self._detached:
            command = (sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid()), *command)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self._environment,
                start_new_session=True,  # a Ctrl-C at the terminal is for us, not for it
            )

    def stop(self, *, grace: float = 10.0) -> None:
        """End it: SIGTERM, then SIGKILL after `grace` seconds. Safe to call at any time."""
        with self._lock:
            running = self.running
            if running is not None:
                running.end(grace=grace)
            if self._child is not None:
                self._child.wait(10.0)
            self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, as a crash would: SIGKILL."""
        running = self.running
        if running is not None:
            running.signal(signal.SIGKILL)
            running.wait(10.0)
        self.stop()

    def tail(self, lines: int = 15) -> str:
        """Give the last lines of its log."""
        return tail(self.log, lines)

    def check_alive(self) -> None:
        """Raise if it has ended by itself.

        Raises:
            SandboxError: with the exit status and the end of its log.
        """
        if not self.alive:
            raise SandboxError(
                f"{self.name} ended by itself (exit status {self.exit_status}). The end of {self.log}:\n{self.tail()}"
            )


def tail(log: Path, lines: int = 15) -> str:
    """Give the last lines of a log file, indented; a word if there are none."""
    try:
        text = log.read_bytes()[-64_000:].decode(errors="replace")
    except FileNotFoundError:
        text = ""
    rows = [f"    {row[:400]}" for row in text.splitlines()[-lines:]]
    return "\n".join(rows) or "    (nothing)"
