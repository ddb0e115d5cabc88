"""Reads a list to its end, whatever the driver makes of pages and tokens (facts D1, D2)."""

import asyncio
from collections.abc import Awaitable, Callable

from volumehealth.csi.types import VolumePage
from volumehealth.errors import CsiError, TokenRejected
from volumehealth.probing.results import ListAccumulator, ListResult
from volumehealth.probing.spec import ProbeLimits

TOO_LARGE = "RESOURCE_EXHAUSTED"
_ROUND = 100
"""Server-side page caps are round numbers."""

AskPage = Callable[[int, str], Awaitable[VolumePage]]
"""`(max_entries, token)` to a page; raises CsiError."""


class ListReader:
    """Reads whole lists of one driver, and remembers that it must be read in pages.

    Attributes:
        page_size: `max_entries`; 0, no limit, until the driver cannot send that much.
    """

    def __init__(self, limits: ProbeLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self.page_size = 0

    async def read(self, ask: AskPage, *, wanted: frozenset[str], legacy: bool) -> ListResult:
        """Read one list.

        Args:
            ask: makes the call, with its own deadline.
            wanted: handles to look for.
            legacy: whether the pages are ListVolumes'.

        Raises:
            CsiError: if not even the first page came. A later failure makes the list incomplete.
        """
        deadline = self._monotonic() + self._limits.list_seconds
        aborted = False
        while True:
            pages = _Pages(ListAccumulator(wanted), legacy=legacy, limit=self.page_size)
            try:
                return pages.tally.reading(await self._pages(ask, pages, deadline))
            except TokenRejected as error:
                if aborted:
                    return pages.broken_off(error)
                aborted = True
            except CsiError as error:
                if error.code != TOO_LARGE or self.page_size:
                    return pages.broken_off(error)
                self.page_size = self._limits.page_size

    async def _pages(self, ask: AskPage, pages: "_Pages", deadline: float) -> str:
        """Read pages; return why they are not the whole list, empty if they are."""
        token = ""
        tokens = {token}
        while pages.count < self._limits.max_pages:
            if pages.count and self._monotonic() >= deadline:
                return f"the list did not end within {self._limits.list_seconds:g} s"
            page = await ask(self.page_size, token)
            # Decoding thousands of entries, sorting them, and what follows are steps of their own.
            await asyncio.sleep(0)
            pages.add(page)
            await asyncio.sleep(0)
            token = page.next_token
            if not token:
                return pages.doubt_about_end(page)
            if token in tokens:
                return "the driver sent the same page token twice"
            tokens.add(token)
        return f"the list did not end within {self._limits.max_pages} pages"


class _Pages:
    """What was read so far in one go from the start."""

    def __init__(self, tally: ListAccumulator, *, legacy: bool, limit: int) -> None:
        self.tally = tally
        self.count = 0
        self._legacy = legacy
        self._limit = limit

    def add(self, page: VolumePage) -> None:
        self.tally.add(page.entries)
        self.count += 1

    def doubt_about_end(self, page: VolumePage) -> str:
        """Say why the list may go on after a page without a token; empty if there is no doubt.

        Some drivers cut a list and never send a token (facts D1, D2). One that has sent a token knows how.
        """
        if self.count > 1:
            return ""
        size = len(page.entries)
        if self._limit and size >= self._limit:
            return f"the driver stopped at the limit of {self._limit} entries without a page token"
        if size and size % _ROUND == 0 and self._names_all(page) and self.tally.missing_any():
            return (
                f"the driver stopped at {size} entries without a page token, as one with a fixed limit does"
            )
        return ""

    def _names_all(self, page: VolumePage) -> bool:
        """Tell whether the list names healthy volumes too: who is missing in it may have been cut off."""
        return self._legacy or any(not conditions for _, conditions in page.entries)

    def broken_off(self, error: CsiError) -> ListResult:
        """Return what was read before the error; raise it if that is nothing."""
        if not self.count:
            raise error
        return self.tally.reading(f"the list ended at page {self.count + 1}: {error}", code=error.code)
