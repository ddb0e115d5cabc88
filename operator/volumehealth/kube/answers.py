"""What an HTTP answer of the API server means, as an error of `errors` with a sentence for people."""

import msgspec

from volumehealth import errors

_BY_STATUS: dict[int, type[errors.ApiError]] = {
    400: errors.Invalid,
    401: errors.Forbidden,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.Gone,
    422: errors.Invalid,
    429: errors.TooManyRequests,
}


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: int = 0


class Status(msgspec.Struct):
    """`metav1.Status`, as far as it is used."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_status = msgspec.json.Decoder(Status)


def error_of(status: int, body: bytes, *, request: str, retry_after: str = "") -> errors.ApiError:
    """Make the error that an answer stands for.

    Args:
        status: HTTP status, 300 or above.
        body: a `Status` object, as the API server sends it, or whatever a proxy sent instead.
        request: method and path, for answers that do not say what they are about.
        retry_after: the header of that name.
    """
    try:
        told = _status.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = Status()
    if told.code == 0 and told.message == "":
        told = Status(message=f"{request}: HTTP {status}")
    return error_of_status(told, status=status, retry_after=retry_after)


def error_of_status(told: Status, *, status: int = 0, retry_after: str = "") -> errors.ApiError:
    """Make the error that a `Status` object stands for, such as the last line of a watch.

    Args:
        told: the object.
        status: HTTP status; 0 takes the object's own.
        retry_after: the header of that name; without one the object's own number counts.
    """
    status = status or told.code
    seconds = float(retry_after) if retry_after.isdigit() else None
    if seconds is None and told.details is not None and told.details.retry_after_seconds > 0:
        seconds = float(told.details.retry_after_seconds)
    message = told.message or told.reason or f"HTTP {status}"
    if status == 401:
        message = f"the API server does not accept our credentials ({message})"
    return _BY_STATUS.get(status, errors.ApiError)(message, status=status, retry_after=seconds)
