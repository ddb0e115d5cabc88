"""What an HTTP answer of the API server means, as an error of `errors` with a sentence for people."""

import msgspec

from volumehealth import errors
from volumehealth.kube.bodies import UNREADABLE
from volumehealth.model.masking import mask

_BY_STATUS: dict[int, type[errors.ApiError]] = {
    400: errors.Invalid,
    401: errors.Forbidden,
    403: errors.Forbidden,
    409: errors.Conflict,
    410: errors.Gone,
    422: errors.Invalid,
    429: errors.TooManyRequests,
}

LONGEST_WAIT = 600.0
"""Seconds: a server, or what answers in its place, cannot make us wait for longer."""


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: int | float | None = 0


class Status(msgspec.Struct):
    """`metav1.Status`, as far as it is used."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_status = msgspec.json.Decoder(Status)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
    except UNREADABLE:
        told = Status()
    if told.kind == "Status":
        return error_of_status(told, status=status, retry_after=retry_after)
    return _without_status(status, request=request, retry_after=retry_after)


def check_read(body: bytes, *, request: str) -> None:
    """Refuse a good answer to a look that is no JSON object: a proxy's login page, which says of no object that it is there.

    Raises:
        ApiUnreachable: if it is none.
    """
    try:
        _object.decode(body)
    except UNREADABLE as error:
        raise errors.ApiUnreachable(f"{request}: the answer is not the API server's") from error


def _without_status(status: int, *, request: str, retry_after: str) -> errors.ApiError:
    """Make the error of an answer that is no `Status`.

    The API server itself gives such answers for paths that it does not serve (404), when it has too much to do (429)
    and when it fails (500). All others come from something in front of it, which says nothing about any object.
    """
    wait = _asked(retry_after)
    if status == 404:
        message = f"{request}: HTTP 404, and not by the API server's own word"
        return errors.NotServed(message, status=status, retry_after=wait)
    if status == 429:
        return errors.TooManyRequests(f"{request}: HTTP 429", status=status, retry_after=wait)
    if status >= 500:
        return errors.ApiError(f"{request}: HTTP {status}", status=status, retry_after=wait)
    message = f"{request}: HTTP {status}, and the answer is not the API server's"
    return errors.ApiUnreachable(message, status=status, retry_after=wait)


def error_of_status(told: Status, *, status: int = 0, retry_after: str = "") -> errors.ApiError:
    """Make the error that a `Status` object stands for, such as the last line of a watch.

    Args:
        told: the object.
        status: HTTP status; 0 takes the object's own.
        retry_after: the header of that name; without one the object's own number counts.
    """
    status = status or told.code
    seconds = _asked(retry_after)
    if seconds is None and told.details is not None:
        seconds = _wait(told.details.retry_after_seconds)
    message = mask(told.message or told.reason or f"HTTP {status}")
    if status == 401:
        message = f"the API server does not accept our credentials ({message})"
    if status == 404:
        kind = errors.NotFound if told.reason == "NotFound" else errors.NotServed
        return kind(message, status=status, retry_after=seconds)
    return _BY_STATUS.get(status, errors.ApiError)(message, status=status, retry_after=seconds)


def _asked(header: str) -> float | None:
    """Read `Retry-After` in seconds; a date is not used."""
    return _wait(int(header[:9])) if header.isascii() and header.isdigit() else None


def _wait(asked: float | None) -> float | None:
    """Return the seconds that a server asks for, within bounds; None if it asks for none."""
    return float(min(asked, LONGEST_WAIT)) if asked is not None and asked > 0 else None
