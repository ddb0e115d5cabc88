"""Log lines for people (text) or machines (json), with their fields.

Credentials in them are masked: errors of drivers and exceptions carry texts of others. A line's fields are what a call passes in `extra`; policy, driver and claim are named alike everywhere.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from volumehealth.model.masking import mask
from volumehealth.model.text import visible

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "settings",
    "k8s_skip",
    "k8s_ref",
}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}


def _moment(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


class TextFormatter(logging.Formatter):
    """`time LEVEL logger: message key=value ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback below it if there is one."""
        tail = "".join(f" {key}={value}" for key, value in _fields(record).items())
        line = f"{_moment(record)} {record.levelname:<7} {record.name}: {record.getMessage()}{tail}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        # What others wrote begins no line of its own, and steers no terminal; the lines of a traceback are kept.
        return "\n".join(visible(one) for one in (mask(line), *mask(trace).split("\n")[1:]))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback becomes the field `exception`."""
        entry: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask(record.getMessage()),
        }
        entry |= {
            name: mask(value) if isinstance(value, str) else value for name, value in _fields(record).items()
        }
        if record.exc_info:
            entry["exception"] = mask(self.formatException(record.exc_info))
        text = json.dumps(entry, default=lambda value: mask(str(value)), ensure_ascii=False)
        return text if text.isprintable() else json.dumps(json.loads(text))  # escaped: it steers no terminal


def configure_logs(*, log_format: str, level: str) -> None:
    """Send every log line of the process to standard error.

    Args:
        log_format: `text` or `json`.
        level: `debug`, `info`, `warning` or `error`. Libraries speak from warning up, unless it is debug.
    """
    # gRPC's C++ core writes to standard error by itself, and reads this when it is first imported.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    ours = getattr(logging, level.upper())
    root.setLevel(logging.DEBUG if level == "debug" else max(ours, logging.WARNING))
    logging.getLogger("volumehealth").setLevel(ours)
    if level != "debug":
        # It tells with a traceback what `app.kopfrun` tells in a line.
        logging.getLogger("kopf._core.reactor").setLevel(logging.CRITICAL)
    # Those of HTTP clients would show, in debug, addresses and headers that hold tokens.
    for noisy in ("asyncio", "aiohttp.access", "kubernetes", "urllib3", "requests_oauthlib", "oauthlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
