"""What one driver's node plugin can be asked, and how; capabilities decide what is called, content what is confirmed."""

from dataclasses import dataclass

from volumehealth.csi import types
from volumehealth.csi.types import NodeInfo
from volumehealth.model.health import HealthAPI, SourceState

HEALTH = "NodeGetVolumeHealth"
STATS = "NodeGetVolumeStats"
STORAGE = "NodeGetStorageHealth"
_STAGES = "STAGE_UNSTAGE_VOLUME"
_NEEDS = {
    HEALTH: types.GET_VOLUME_HEALTH,
    STATS: types.GET_VOLUME_STATS,
    STORAGE: types.GET_STORAGE_HEALTH,
}


@dataclass(frozen=True, slots=True)
class NodePlan:
    """How a driver is asked.

    Attributes:
        methods: what it has, in the order in which they are shown.
        api: which of them speak of health.
        stages: whether its volumes have a staging path.
        hidden: it sends a legacy condition without saying that it can (facts D15).
    """

    methods: tuple[str, ...] = ()
    api: HealthAPI = HealthAPI.NONE
    stages: bool = False
    hidden: bool = False

    @property
    def state(self) -> SourceState:
        """What a driver that answers is: able to tell something, or not."""
        return SourceState.ANSWERING if self.methods else SourceState.UNSUPPORTED

    @property
    def message(self) -> str:
        """How behaviour and capabilities differ; empty if they do not."""
        return "sends a VolumeCondition without the capability VOLUME_CONDITION" if self.hidden else ""

    @property
    def hint(self) -> str:
        """What would make it tell more; empty if it tells of health."""
        if self.api is not HealthAPI.NONE:
            return ""
        return (
            "its node plugin has no health call; only mounts and, if it counts them, free bytes are checked"
        )


def make_plan(info: NodeInfo, lacking: frozenset[str] = frozenset(), *, hidden: bool = False) -> NodePlan:
    """Choose what to call.

    Args:
        info: what the driver says it can do.
        lacking: methods that it promised and answered UNIMPLEMENTED to.
        hidden: it was heard to send a legacy condition.
    """
    methods = tuple(
        method for method, capability in _NEEDS.items() if capability in info.node and method not in lacking
    )
    legacy = STATS in methods and (types.VOLUME_CONDITION in info.node or hidden)
    if HEALTH in methods:
        api = HealthAPI.VOLUME_HEALTH
    else:
        api = HealthAPI.VOLUME_CONDITION if legacy else HealthAPI.NONE
    return NodePlan(
        methods=methods,
        api=api,
        stages=_STAGES in info.node,
        hidden=api is HealthAPI.VOLUME_CONDITION and types.VOLUME_CONDITION not in info.node,
    )
