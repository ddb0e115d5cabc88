"""Says how many inputs there were."""

import pytest

from fuzz.fuzzing import TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of inputs."""
    if TRIED:
        terminalreporter.write_line(f"fuzzing: {sum(TRIED.values()):,} inputs in {len(TRIED)} tests")
        for name, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"  {count:9,d}  {name}")
