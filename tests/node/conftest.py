"""Tests of the node's looks on real faults: given a real filesystem on a disk that breaks on demand, what is said of it.

They take root, loop devices, /dev/fuse with libfuse3, and the tools of the filesystems; where these are not, they skip.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.realdisk import RealNode, why_no_disks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what lies here where it cannot be."""
    why = why_no_disks()
    for item in items:
        if why and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def make_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RealNode]]:
    """Make nodes whose mounts and disks are gone afterwards, whatever hangs."""
    with ExitStack() as stack:

        def make(*, kernel_log: bool = True, max_latency: str = "") -> RealNode:
            return stack.enter_context(
                RealNode(tmp_path_factory.mktemp("node"), kernel_log=kernel_log, max_latency=max_latency)
            )

        yield make
