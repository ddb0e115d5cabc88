"""The exception tree.

VolumeHealthError
├── SettingsError            bad flags or environment; all faults at once
├── InvalidSpec              a policy that the API server let through and we cannot use
├── ApiError                 the Kubernetes API refused or failed
│   ├── ApiUnreachable       no connection, no answer in time, or a proxy answers in its place
│   │   └── NotServed        404 without the API server's own word: no such path, or a proxy answers
│   ├── NotFound             404 with a Status of reason NotFound
│   ├── Conflict             409
│   ├── Gone                 410: the resource version is too old
│   ├── Forbidden            401, 403
│   ├── Invalid              400, 422
│   └── TooManyRequests      429, with `retry_after`
├── LeaseLost                another process leads, or we cannot prove that we do
├── CsiError                 a driver refused or failed; `code` is the gRPC status name
│   ├── DriverUnreachable    UNAVAILABLE, no connection, or no answer in time (DEADLINE_EXCEEDED)
│   ├── VolumeNotFound       NOT_FOUND
│   ├── TokenRejected        ABORTED
│   ├── CallNotSupported     UNIMPLEMENTED
│   └── GarbledAnswer        bytes that are no such message, or fields out of range
└── SandboxError             the local control plane cannot be built or started
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volumehealth.model.policy import FieldError


class VolumeHealthError(Exception):
    """The root: whatever we raise on purpose."""


class SettingsError(VolumeHealthError):
    """Bad flags or environment. `faults` lists every one."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class InvalidSpec(VolumeHealthError):  # noqa: N818 - named as Kubernetes names it
    """A policy's spec cannot be used. `errors` lists every fault with its path."""

    def __init__(self, errors: "Sequence[FieldError]") -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


class ApiError(VolumeHealthError):
    """The Kubernetes API refused or failed.

    Attributes:
        status: the HTTP status; 0 if there was no answer.
        retry_after: seconds the server asks us to wait; None if it does not say.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ApiUnreachable(ApiError):  # noqa: N818
    """No connection to the API server, no answer in time, or something answers in its place (then with `status`)."""


class NotServed(ApiUnreachable):
    """404 without a Status of reason NotFound: the path is not served (no such CRD), or a proxy answers."""


class NotFound(ApiError):  # noqa: N818
    """404 with a Status of reason NotFound: Kubernetes' own word that something is not there."""


class Conflict(ApiError):  # noqa: N818
    """409: it exists already, or was changed meanwhile."""


class Gone(ApiError):  # noqa: N818
    """410: the resource version is too old; list again."""


class Forbidden(ApiError):  # noqa: N818
    """401 or 403."""


class Invalid(ApiError):  # noqa: N818
    """400 or 422: the server will never take this."""


class TooManyRequests(ApiError):  # noqa: N818
    """429: priority and fairness, or an overloaded server."""


class LeaseLost(VolumeHealthError):  # noqa: N818
    """Another process leads, or we cannot prove any more that we do."""


class CsiError(VolumeHealthError):
    """A driver refused or failed. `code` is the gRPC status name, such as `INTERNAL`."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class DriverUnreachable(CsiError):  # noqa: N818
    """No connection, or no answer in time."""


class VolumeNotFound(CsiError):  # noqa: N818
    """NOT_FOUND; what that means differs by driver (facts D6)."""


class TokenRejected(CsiError):  # noqa: N818
    """ABORTED: the list's token is no longer good; start again with none."""


class CallNotSupported(CsiError):  # noqa: N818
    """UNIMPLEMENTED, whatever the capabilities said."""


class GarbledAnswer(CsiError):  # noqa: N818
    """Bytes that are no such message, or fields out of range."""


class SandboxError(VolumeHealthError):
    """The local control plane cannot be built or started."""
