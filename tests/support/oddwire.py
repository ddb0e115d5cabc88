"""A driver below the seam of bytes: it answers whatever it was told to."""

from volumehealth.csi.wire import RpcFailed


class OddWire:
    """Answers every call with the same bytes, or with a status."""

    connected = True

    def __init__(self, answers: dict[str, bytes], failure: RpcFailed | None = None) -> None:
        self._answers = answers
        self._failure = failure

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        if self._failure is not None:
            raise self._failure
        return self._answers.get(path.rpartition("/")[2], b"")

    async def aclose(self) -> None:
        """Nothing is open."""
