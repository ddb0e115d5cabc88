"""Stands before every call of the simulated driver: counts it, and lets it misbehave as a whole."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_state import DriverState

Context = grpc.aio.ServicerContext[Any, Any]
if TYPE_CHECKING:  # generic in the type stubs only
    _Handler = grpc.RpcMethodHandler[Any, Any]
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Handler = grpc.RpcMethodHandler
    _Interceptor = grpc.aio.ServerInterceptor
_Answer = Callable[[Message, Context], Awaitable[Message]]
_CSI = "/csi.v1."
_IDENTITY = "Identity"
_GARBAGE = b"\xff\xff this is no protobuf \xff"


class Gate(_Interceptor):
    """The interceptor of the simulated driver's server."""

    def __init__(self, state: DriverState) -> None:
        self._state = state

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Wrap a CSI method; other services pass."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if not path.startswith(_CSI):
            return handler
        if handler is None:  # a method that nobody serves; the type stubs do not know
            return handler
        service, method = path.removeprefix(_CSI).split("/")
        answer = cast("_Answer", handler.unary_unary)

        async def guarded(request: Message, context: Context) -> Message | bytes:
            if "secrets" in request.DESCRIPTOR.fields_by_name:
                self._state.secrets = dict(getattr(request, "secrets", {}))
            self._state.count(method)
            if await self._misbehaves(service, method, request=request, context=context):
                return _GARBAGE
            return await answer(request, context)

        return grpc.unary_unary_rpc_method_handler(
            guarded, request_deserializer=handler.request_deserializer, response_serializer=_serialized
        )

    async def _misbehaves(self, service: str, method: str, *, request: Message, context: Context) -> bool:
        """Hang, wait or refuse; True if garbage is to be sent."""

        def habit(kind: Quirk) -> Params | None:
            params = self._state.habit(kind, method)
            # Identity stays well unless it is named: else nobody would ever learn who it is that misbehaves.
            return None if params and service == _IDENTITY and not params.methods else params

        if habit(Quirk.UNIMPLEMENTED):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown method {method}")
        hangs = habit(Quirk.HANGS)
        if hangs and _concerns(hangs, request):
            await asyncio.Event().wait()  # until the caller's deadline or a crash
        if slow := habit(Quirk.SLOW):
            await asyncio.sleep(slow.seconds)
        errors = habit(Quirk.ERRORS)
        if errors and _concerns(errors, request):
            await context.abort(grpc.StatusCode[errors.code], errors.message)
        return habit(Quirk.GARBAGE) is not None


def _concerns(errors: Params, request: Message) -> bool:
    handle = getattr(request, "volume_id", None)
    return handle is None or errors.hits(handle)


def _serialized(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
