"""What a node agent was told, checked at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from volumehealth.agent.looks import MOUNT_TABLE
from volumehealth.agent.paths import DEFAULT_KUBELET_DIR
from volumehealth.errors import SettingsError
from volumehealth.model.ids import is_name
from volumehealth.settings import DEFAULT_NAMESPACE, Settings, parse_settings


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Settings of `volumehealth agent node`.

    Attributes:
        common: what it shares with the operator; its `csi_endpoints` are node plugins, its `namespace` is that of the
            Leases: the operator's.
        node: name of the node it runs on.
        kubelet_dir: the kubelet's root directory, at the same path here as on the node.
        mount_table: a `mountinfo` file of the node's mount namespace.
        kernel_log: whether the kernel log is read; that needs the capability CAP_SYSLOG.
    """

    common: Settings
    node: str
    kubelet_dir: str = DEFAULT_KUBELET_DIR
    mount_table: str = MOUNT_TABLE
    kernel_log: bool = True


def common_settings(raw: Mapping[str, object], faults: list[str]) -> Settings:
    """Read what an agent shares with the operator; what is wrong with it is added to `faults`."""
    try:
        return parse_settings({**raw, "namespace": raw.get("namespace") or DEFAULT_NAMESPACE})
    except SettingsError as error:
        faults += error.faults
        return Settings()


def parse_node_settings(raw: Mapping[str, object]) -> NodeSettings:
    """Make settings of what the command line read.

    Args:
        raw: values by option name in snake_case; None means not given.

    Raises:
        SettingsError: with every fault, each naming its flag.
    """
    faults: list[str] = []
    common = common_settings(raw, faults)
    kubelet = str(raw.get("kubelet_dir") or DEFAULT_KUBELET_DIR).rstrip("/")
    if not kubelet.startswith("/"):
        faults.append(f"--kubelet-dir: {kubelet!r} is not an absolute path")
    table = str(raw.get("mount_table") or MOUNT_TABLE)
    if not Path(table).exists():
        faults.append(f"--mount-table: the file {table} does not exist")
    given = str(raw.get("node_name") or "")
    if given and not is_name(given):
        faults.append(f"--node-name: {given!r} can be the name of no node")
    node = given or os.uname().nodename.lower()  # as the kubelet names its node by default
    if faults:
        raise SettingsError(faults)
    return NodeSettings(
        common=common,
        node=node,
        kubelet_dir=kubelet,
        mount_table=table,
        kernel_log=raw.get("kernel_log") is not False,
    )
