"""How the simulated driver refuses a request: the checks that CSI asks of every driver."""

from collections.abc import Collection

import grpc

from volumehealth_sandbox.driver_gate import Context
from volumehealth_sandbox.driver_state import DriverState, SimulatedVolume


async def need(context: Context, **fields: object) -> None:
    """Refuse with INVALID_ARGUMENT if a required field is empty."""
    for name, value in fields.items():
        if not value:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{name} is required")


async def need_capability(context: Context, capability: str, capabilities: Collection[str]) -> None:
    """Refuse with UNIMPLEMENTED what the driver cannot do."""
    if capability not in capabilities:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{capability} is not supported")


async def need_volume(context: Context, state: DriverState, handle: str) -> SimulatedVolume:
    """Return a volume, or refuse with NOT_FOUND."""
    if not state.exists(handle):
        await context.abort(grpc.StatusCode.NOT_FOUND, f"volume {handle} does not exist")
    return state.volumes[handle]
