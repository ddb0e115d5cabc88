"""Where it stands what to do: the page of the runbooks, and the section of a reason in it."""

from volumehealth.model.vocabulary import Reason

PAGE = "docs/runbooks.md"
"""The page in a checkout, if nobody says where it can be read."""
_WRITTEN = frozenset(Reason)


def page_of(address: object) -> str:
    """Return the page in which a runbook stands, such as that of `status.runbook`; without an address, `PAGE`."""
    return str(address or PAGE).partition("#")[0]


def runbook(reason: str, page: str = PAGE) -> str:
    """Return the address of a reason's runbook; of a reason that a driver chose, which has none, that of the page.

    Args:
        reason: of a finding.
        page: the address of the page.
    """
    return f"{page}#{reason.lower()}" if reason in _WRITTEN else page
