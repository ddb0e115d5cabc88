"""What `volumehealth report` shows: the overview, and what tells in which class, namespace and node a claim is.

Whoever runs it may not be allowed to read everything. What is out of sight is None, and the report says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from volumehealth.kube.api import Api
from volumehealth.model.vocabulary import API_VERSION, REPORTS
from volumehealth.oneshot.overview import Overview, read_overview
from volumehealth.oneshot.reading import Object, list_if_allowed


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read.

    Attributes:
        overview: policies, drivers and records.
        claims: PersistentVolumeClaims of the namespace, or of all; None if they may not be read.
        reports: what agents report of their nodes; None likewise.
    """

    overview: Overview
    claims: Sequence[Object] | None = None
    reports: Sequence[Object] | None = None


async def read_evidence(api: Api, *, namespace: str, now: datetime) -> Evidence:
    """Read what a report shows.

    Args:
        api: a connection.
        namespace: whose claims and records; empty for all namespaces.
        now: the moment, to tell whether checks go on.

    Raises:
        ApiError: if the API server cannot be reached, or the records may not be read.
    """
    where = f"/namespaces/{namespace}" if namespace else ""
    return Evidence(
        await read_overview(api, namespace=namespace, now=now),
        await list_if_allowed(api, f"/api/v1{where}/persistentvolumeclaims"),
        await list_if_allowed(api, f"/apis/{API_VERSION}/{REPORTS}"),
    )
