"""How the simulated driver can misbehave: what real drivers were seen to do (facts, section D)."""

import zlib
from dataclasses import dataclass

from volumehealth.model.vocabulary import Described


class Quirk(Described):
    """A bad habit of a driver, with the sentence that explains it and the facts it comes from."""

    NO_TOKEN = "NoToken", "With a limit it sends the first entries and never a token (D1)."
    IGNORES_LIMIT = "IgnoresLimit", "It sends everything, whatever max_entries says (D2)."
    CAPS_PAGES = "CapsPages", "No page is longer than `count` (100), max_entries 0 or not (D2)."
    REPEATS_TOKEN = "RepeatsToken", "Every page ends with the same token, for ever (D2)."
    ENDLESS_PAGES = "EndlessPages", "Every page ends with a new token, for ever (D2)."
    DRIFTS = (
        "Drifts",
        "Each further page starts `count` (-1) entries off: duplicates if negative, else gaps (D2).",
    )
    ABORTS_TOKENS = "AbortsTokens", "Tokens are refused with ABORTED, `count` times if given (C2)."
    DUPLICATES = "Duplicates", "Every volume is listed twice, the second time as healthy (D2)."
    NIL_CONDITION = (
        "NilCondition",
        "The condition is left out; of ListVolumes unless `methods` are given (D4).",
    )
    NIL_VOLUME = "NilVolume", "A get answers without the volume (D5)."
    OTHER_IDS = "OtherIds", "A get answers with another volume id (D5)."
    NOT_LISTED = "NotListed", "Volumes that exist are missing in lists: `volumes`, else a `fraction` (D3)."
    NOT_FOUND = "NotFound", "Gets answer NOT_FOUND: for `volumes`, else a `fraction` (D6)."
    CHANGING_TEXTS = "ChangingTexts", "Messages end with a number that changes at every call (D11)."
    DIRTY_TEXTS = "DirtyTexts", "Messages hold control characters, reasons are no CamelCase (D12)."
    HUGE_TEXTS = "HugeTexts", "Messages are `count` (1 MiB) bytes long (D12)."
    HUGE_ENTRIES = "HugeEntries", "Every entry of ListVolumes carries `count` (10 KiB) bytes of context (C2)."
    UNKNOWN_STATUS = "UnknownStatus", "Health statuses have a number of the future: `count` (7) (C5)."
    UNKNOWN_CAPABILITY = "UnknownCapability", "Capabilities include one of the future, number 99."
    HIDES_CAPABILITIES = (
        "HidesCapabilities",
        "It can do everything and advertises no health capability (D15).",
    )
    LISTS_HEALTHY = "ListsHealthy", "A 1.13 list names healthy volumes, too (C2)."
    NO_USAGE = "NoUsage", "Stats of an abnormal volume carry no usage (D8)."
    NOT_READY = "NotReady", "Probe says not ready."
    PROBE_FAILS = "ProbeFails", "Probe answers FAILED_PRECONDITION."
    UNIMPLEMENTED = "Unimplemented", "`methods` answer UNIMPLEMENTED, whatever the capabilities say (D15)."
    HANGS = (
        "Hangs",
        "`methods` never answer; calls for single volumes only for `volumes`, else a `fraction` (D10).",
    )
    SLOW = "Slow", "`methods` take `seconds` (1) (D3)."
    GARBAGE = "Garbage", "`methods` answer bytes that are no such message."
    ERRORS = (
        "Errors",
        "`methods` answer `code` (INTERNAL); gets only for `volumes`, else a `fraction` (D6, D17).",
    )


@dataclass(frozen=True, slots=True)
class Params:
    """The details of a misbehaviour; which of them count is in its sentence.

    Attributes:
        methods: RPC names such as `ListVolumes`; empty means all of the Controller and Node services.
        volumes: handles; empty means a fraction.
        fraction: share of the volumes, 0 to 1; always the same ones.
        count: a number.
        seconds: how long.
        code: gRPC status name.
        message: what an error says.
    """

    methods: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    fraction: float = 1.0
    count: int | None = None
    seconds: float = 1.0
    code: str = "INTERNAL"
    message: str = "the storage says no"

    def covers(self, method: str) -> bool:
        """Tell whether a method misbehaves."""
        return not self.methods or method in self.methods

    def hits(self, handle: str) -> bool:
        """Tell whether a volume is concerned."""
        if self.volumes:
            return handle in self.volumes
        return zlib.crc32(handle.encode()) < self.fraction * 2**32
