"""What the commands for people share: a connection for one reading, the form of data, the size of the screen."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import yaml


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
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def camel_case(data: Any) -> Any:
    """Return data with the names of its fields as Kubernetes writes them: `unknownReason`."""
    if isinstance(data, dict):
        return {_camel(name): camel_case(one) for name, one in data.items()}
    return [camel_case(one) for one in data] if isinstance(data, list) else data


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def screen_width() -> int:
    """Return the terminal's width in columns."""
    return shutil.get_terminal_size().columns


def screen() -> dict[str, Any]:
    """Return the terminal's width, and whether to use colours: on a terminal only, and not with NO_COLOR (no-color.org)."""
    return {"width": screen_width(), "color": sys.stdout.isatty() and not os.environ.get("NO_COLOR")}
