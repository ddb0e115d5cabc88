"""Log lines carry their fields, for people and for machines."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from volumehealth.logs import JsonFormatter, TextFormatter, configure_logs


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("volumehealth.probing", logging.WARNING, __file__, 1, message, None, None)
    vars(made).update(fields)
    return made


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("volumehealth").setLevel(logging.NOTSET)


def test_text_ends_with_the_fields() -> None:
    line = TextFormatter().format(record("probe failed", driver="csi.example.com", claim="shop/db"))

    assert line.endswith("WARNING volumehealth.probing: probe failed driver=csi.example.com claim=shop/db")


def test_json_is_one_object_with_the_fields_beside_the_message() -> None:
    entry = json.loads(JsonFormatter().format(record("probe failed", driver="csi.example.com", seconds=1.5)))

    assert entry["message"] == "probe failed"
    assert entry["level"] == "warning"
    assert entry["driver"] == "csi.example.com"
    assert entry["seconds"] == 1.5
    assert entry["time"].endswith("Z")


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_what_others_write_begins_no_line_and_steers_no_terminal(formatter: logging.Formatter) -> None:
    forged = "no\n2026-11-30T00:00:00Z ERROR root: disk lost\r\x1b[2J\x9b\u202e\u2028"

    assert formatter.format(record(forged, error=forged, why=ValueError(forged))).isprintable()


def test_a_traceback_keeps_its_lines_and_steers_no_terminal() -> None:
    try:
        raise ValueError("a\x1b[2J")
    except ValueError:
        made = record("turn failed")
        made.exc_info = sys.exc_info()

    lines = TextFormatter().format(made).split("\n")

    assert lines[1] == "Traceback (most recent call last):"
    assert all(map(str.isprintable, lines))


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_is_kept(formatter: logging.Formatter) -> None:
    try:
        raise ValueError("nobody expected this")
    except ValueError:
        made = record("turn failed")
        made.exc_info = sys.exc_info()

    assert "nobody expected this" in formatter.format(made)


def test_libraries_are_quiet_unless_we_debug(root_logger: logging.Logger) -> None:
    configure_logs(log_format="text", level="info")

    assert logging.getLogger("volumehealth.app").isEnabledFor(logging.INFO)
    assert not logging.getLogger("kopf.objects").isEnabledFor(logging.INFO)
    assert len(root_logger.handlers) == 1
