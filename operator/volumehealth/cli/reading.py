"""What the commands for people share: a connection for one reading, the form of data, the size of the screen."""

import asyncio
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import yaml

from volumehealth.model.text import visible
from volumehealth.policy import decode

_UNSEEN = re.compile(r"[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""Characters that JSON and YAML let stand and that steer a terminal, turn the direction of a line, or are not to be seen. In JSON they
stand in texts only; YAML escapes whatever is not ASCII where one of them is."""


def read_with(kubeconfig: str | None, read: Callable[[Any], Awaitable[Any]]) -> Any:
    """Connect with the user's credentials, read, and close.

    Raises:
        ApiError: as `read` does, or if there are no credentials.
    """

    async def run() -> Any:
        from volumehealth.kube.api import Api
        from volumehealth.kube.h11_transport import H11Transport

        async with await Api.connect(kubeconfig or None, transport=H11Transport) as api:
            return await read(api)

    return asyncio.run(run())


def data_text(data: object, form: str) -> str:
    """Write data as `json` or `yaml`; moments are RFC 3339."""
    plain = msgspec.to_builtins(data)
    if form == "json":
        return _UNSEEN.sub(_escaped, json.dumps(plain, indent=2, ensure_ascii=False)) + "\n"
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text if _UNSEEN.search(text) is None else yaml.safe_dump(plain, sort_keys=False)


def _escaped(found: "re.Match[str]") -> str:
    return f"\\u{ord(found[0]):04x}"


def camel_case(found: object) -> Any:
    """Return plain data with the names of its fields as Kubernetes writes them: `unknownReason`."""
    return _renamed(msgspec.to_builtins(found))


def _renamed(data: Any) -> Any:
    if isinstance(data, dict):
        return {decode.camel_case(name): _renamed(one) for name, one in data.items()}
    return [_renamed(one) for one in data] if isinstance(data, list) else data


def wrapped(text: str, width: int, *, first: str, rest: str) -> list[str]:
    """Break a text into lines of a width, between words only; `first` and `rest` stand before them."""
    return textwrap.wrap(
        visible(text),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def screen_width() -> int:
    """Return the terminal's width in columns."""
    return shutil.get_terminal_size().columns


def screen() -> dict[str, Any]:
    """Return the terminal's width, and whether to use colours: on a terminal only, and not with NO_COLOR (no-color.org)."""
    return {"width": screen_width(), "color": sys.stdout.isatty() and not os.environ.get("NO_COLOR")}
