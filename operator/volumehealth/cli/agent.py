"""`volumehealth agent`."""

import asyncio
from typing import Any

import click

from volumehealth.cli.options import (
    busy_option,
    cluster_options,
    csi_options,
    health_option,
    log_options,
    option,
)
from volumehealth.logs import configure_logs

_namespace_option = option(
    "--namespace",
    "NAMESPACE",
    "Namespace of the agents' Leases: the operator's. Default: volumehealth-system.",
    metavar="NAME",
)


@click.group()
def agent() -> None:
    """Ask CSI drivers where only somebody beside them can, and report to the operator."""


@agent.command()
@option(
    "--node-name",
    "NODE_NAME",
    "Name of the node this runs on. Default: the host's name.",
    metavar="NAME",
)
@option(
    "--kubelet-dir",
    "KUBELET_DIR",
    "The kubelet's root directory, at the same path here as on the node. Default: /var/lib/kubelet.",
    metavar="DIR",
)
@option(
    "--mount-table",
    "MOUNT_TABLE",
    "The node's mount table; needs the node's process ids (hostPID). Default: /proc/1/mountinfo.",
    metavar="FILE",
)
@option(
    "--kernel-log/--no-kernel-log",
    "KERNEL_LOG",
    "Whether to read the kernel log, which needs the capability CAP_SYSLOG. Without it lost writes, I/O errors and XFS "
    "filesystems that were shut down are not seen. Default: --kernel-log.",
)
@cluster_options
@option(
    "--csi-endpoint",
    "CSI_ENDPOINT",
    "Socket of a node plugin that does not register with the kubelet: unix:///path. NAME=ADDRESS names the driver up "
    "front. Repeat for more.",
    metavar="[NAME=]ADDRESS",
    multiple=True,
)
@option(
    "--csi-secrets-dir",
    "CSI_SECRETS_DIR",
    "Directory with one file for each driver, named after it: a YAML or JSON map, sent as the secrets of CSI 1.13's "
    "storage health call.",
    metavar="DIR",
)
@health_option
@_namespace_option
@log_options
def node(**flags: Any) -> None:
    """Run on one node: ask its drivers about the volumes in use there, read its mount table, write one report."""
    from volumehealth.agent.settings import parse_node_settings

    settings = parse_node_settings(flags)
    configure_logs(log_format=settings.common.log_format, level=settings.common.log_level)
    from volumehealth.agent.process import run_node  # after the flags: heavy

    raise SystemExit(asyncio.run(run_node(settings)))


@agent.command()
@cluster_options
@csi_options
@busy_option
@health_option
@_namespace_option
@log_options
def controller(**flags: Any) -> None:
    """Run beside a driver's controller, under its ServiceAccount: ask it about its volumes, write its report."""
    from volumehealth.agent.controller_settings import parse_controller_settings

    settings = parse_controller_settings(flags)
    configure_logs(log_format=settings.common.log_format, level=settings.common.log_level)
    from volumehealth.agent.controller_process import run_controller  # after the flags: heavy

    raise SystemExit(asyncio.run(run_controller(settings)))
