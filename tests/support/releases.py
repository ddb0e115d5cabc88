"""Which release of Kubernetes the tests run on."""

from volumehealth_sandbox.tools import kubernetes_version

HEALTH_FIELDS = "1.37"
"""The release that brought the gate CSIVolumeHealth, which other releases refuse to be told of."""
INJECTION = "1.36"
"""The release from which on MutatingAdmissionPolicy is served by default."""


def serves(minor: str) -> bool:
    """Tell whether the API server has what came with a release, such as `1.36`."""
    return _numbers(kubernetes_version()) >= _numbers(minor)


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.removeprefix("v").split(".")[:2]
    return int(major), int(minor)
