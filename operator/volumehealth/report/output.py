"""The Output contract: what takes the result of a check and tells it to somebody.

Each output has a lane of its own: a task that takes results one after the other, in slices of time. An output that is
slow or broken delays no other, and an error costs the one result that it happened in. Events and notifications need
the records (`outbox`); nothing else depends on another output.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

from volumehealth.judge.result import CheckResult
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps
from volumehealth.report.outbox import StoredRecord


class Output(ABC):
    """One way of telling. What has not to be done for an output, it does not implement."""

    name: ClassVar[str]
    """For logs, metrics and the outbox, such as `Records`."""

    @abstractmethod
    def publish(self, result: CheckResult) -> Iterator[None]:
        """Tell the result of a check, in steps; never waits for anything. Yields where others may have a turn."""

    def look_again(self, claims: Collection[ClaimRef] | None) -> None:  # noqa: B027 - most outputs settle nothing
        """The rows, Pods or records of these claims have changed (None: of any), for an output that keeps an `Agenda`."""

    @abstractmethod
    def forget(self, policy: Policy) -> Steps[None]:
        """A policy was deleted: take back what was told, and say of nothing that it recovered."""

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policies: Collection[str]) -> None:  # noqa: B027 - most outputs have nothing to compare
        """Now and then, once all policies are known: compare with what is there."""

    async def run(self) -> None:  # noqa: B027 - most outputs deliver through the queue
        """Deliver until cancelled, for an output that does not write through the API server's queue."""

    async def drain(self, timeout: float) -> int:
        """Before the end of the process, while `run` goes on: deliver; return how much is left."""
        return 0
