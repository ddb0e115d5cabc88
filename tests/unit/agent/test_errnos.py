"""Which errors of NodeGetVolumeStats say something of the volume, and which of the call alone."""

import pytest

from volumehealth.agent.errnos import backend_error
from volumehealth.errors import CsiError


@pytest.mark.parametrize(
    "text",
    [
        "NodeGetVolumeStats: INTERNAL: failed to get stats: input/output error",
        "NodeGetVolumeStats: INTERNAL: failed to get metrics: stale NFS file handle",
        "NodeGetVolumeStats: INTERNAL: Error: statfs /var/lib/kubelet/pods/u/mount: stale file handle",
        "NodeGetVolumeStats: INTERNAL: failed to get volume stats: transport endpoint is not connected",
        "NodeGetVolumeStats: INTERNAL: stat /var/lib/kubelet/pods/u/mount: permission denied",
        "NodeGetVolumeStats: INTERNAL: stat /var/lib/kubelet/pods/u/mount: resource temporarily unavailable",
        "NodeGetVolumeStats: INTERNAL: failed to get capacity info: no such device",
        "NodeGetVolumeStats: INTERNAL: Host is down",
    ],
)
def test_an_errno_of_the_volume_is_evidence(text: str) -> None:
    found = backend_error(CsiError(text, code="INTERNAL"))
    assert found is not None
    assert (found.status, found.reason) == ("Inaccessible", "BackendError")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("failed to get stats: permission denied", "INTERNAL"),
        ("failed to get stats: no such file or directory", "INTERNAL"),
        ("failed to get stats: unknown", "INTERNAL"),
        ("volume not found: input/output error", "NOT_FOUND"),
        ("rpc error: code = Unavailable desc = input/output error", "INTERNAL"),
        ("dial tcp 10.0.0.1:443: connect: host is down", "INTERNAL"),
        ("input/output error while reading the driver's own config", "INTERNAL"),
        ("failed: input/output error", "UNAVAILABLE"),
    ],
)
def test_other_errors_are_the_calls(text: str, code: str) -> None:
    assert backend_error(CsiError(text, code=code)) is None
