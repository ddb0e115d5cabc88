"""The command line as a process of its own, as a person runs it."""

import asyncio
import sys
from pathlib import Path


async def run(kubeconfig: Path, *arguments: str) -> tuple[int, str]:
    """Run `volumehealth` with a kubeconfig; return its exit status and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "volumehealth", *arguments, f"--kubeconfig={kubeconfig}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()
