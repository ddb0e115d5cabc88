"""`volumehealth operator`."""

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
from volumehealth.settings import parse_settings


@click.command()
@cluster_options
@csi_options
@busy_option
@option(
    "--metrics-address",
    "METRICS_ADDRESS",
    "Where to serve /metrics; empty turns it off. Default: 0.0.0.0:8080.",
    metavar="HOST:PORT",
)
@health_option
@option(
    "--outputs-dir",
    "OUTPUTS_DIR",
    "Directory with one directory for each output that needs configuration, named after it.",
    metavar="DIR",
)
@option(
    "--runbooks",
    "RUNBOOKS",
    "Where the page of runbooks can be read; records, policies and alerts lead there. Default: docs/runbooks.md.",
    metavar="ADDRESS",
)
@click.option(
    "--leader-elect/--no-leader-elect",
    envvar="VOLUMEHEALTH_LEADER_ELECT",
    show_envvar=True,
    default=True,
    help="Hold a Lease, so that one operator is active in the cluster however many run. Default: on.",
)
@option("--namespace", "NAMESPACE", "Namespace of the Lease. Default: the pod's own.", metavar="NAME")
@log_options
def operator(**flags: Any) -> None:
    """Run the operator: policies in, conditions, records, events and metrics out.

    Every flag can be given by its environment variable as well; a flag wins.
    """
    settings = parse_settings(flags)
    configure_logs(log_format=settings.log_format, level=settings.log_level)
    from volumehealth.app.operator import run  # after the flags: heavy
    from volumehealth.kube.credentials import CredentialSource

    CredentialSource(settings.kubeconfig).prepare()
    raise SystemExit(asyncio.run(run(settings)))
