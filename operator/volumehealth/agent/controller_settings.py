"""What a controller agent was told, checked at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from volumehealth.agent.settings import common_settings
from volumehealth.errors import SettingsError
from volumehealth.settings import Settings


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Settings of `volumehealth agent controller`.

    Attributes:
        common: what it shares with the operator; its `namespace` is that of the Leases: the operator's.
        driver: the driver's name; its report and its Leases are named after it.
        endpoint: address of the controller's socket.
    """

    common: Settings
    driver: str
    endpoint: str


def parse_controller_settings(raw: Mapping[str, object]) -> ControllerSettings:
    """Make settings of what the command line read.

    Args:
        raw: values by option name in snake_case; None means not given.

    Raises:
        SettingsError: with every fault, each naming its flag.
    """
    faults: list[str] = []
    common = common_settings(raw, faults)
    endpoint = common.csi_endpoints[0] if len(common.csi_endpoints) == 1 else None
    if endpoint is None and not faults:
        faults.append("--csi-endpoint: exactly one is needed, as NAME=ADDRESS")
    elif endpoint is not None and not endpoint.driver:
        faults.append(f"--csi-endpoint: {endpoint.address!r} needs the driver's name: NAME=ADDRESS")
    if faults or endpoint is None:
        raise SettingsError(faults)
    return ControllerSettings(common=common, driver=endpoint.driver, endpoint=endpoint.address)
