"""`volumehealth check`."""

import asyncio
import shutil
from typing import Any

import click

from volumehealth.cli.options import (
    cluster_options,
    csi_options,
    form_option,
    log_options,
    namespace_of_operator,
    option,
)
from volumehealth.logs import configure_logs
from volumehealth.settings import parse_settings


@click.command()
@click.option(
    "-f", "--filename", metavar="FILE", help="A VolumeHealthPolicy. Default: every bound CSI claim."
)
@namespace_of_operator
@cluster_options
@csi_options
@form_option
@click.option("--explain", metavar="NAMESPACE/CLAIM", help="Show every statement about one claim instead.")
@click.option("--junit", metavar="FILE", help="Write the result as JUnit XML as well, for a CI pipeline.")
@option("--wait", "CHECK_WAIT", "Seconds to wait for drivers at most. Default: 60.", metavar="SECONDS")
@log_options
def check(
    filename: str | None,
    output: str,
    explain: str | None,
    junit: str | None,
    wait: str | None,
    operator_namespace: str,
    **flags: Any,
) -> None:
    """Check once: read-only, nothing installed, no CRD needed.

    What a driver says now is shown at once, without the policy's unhealthyAfter and healthyAfter. What a rule waits for
    is shown and is not unhealthy yet.

    Exit status: 0 healthy, 1 unhealthy, 3 nothing unhealthy but something unknown (or an endpoint
    that does not answer, or nothing monitored at all), 2 usage or connection error.
    """
    if flags.get("log_level") is None:
        flags["log_level"] = "error"
    settings = parse_settings(flags | {"namespace": operator_namespace})
    configure_logs(log_format=settings.log_format, level=settings.log_level)
    from volumehealth.oneshot.check import Question, parse_question, run  # after the flags: heavy

    question: Question = parse_question(filename=filename, explain=explain, wait=wait)
    result = asyncio.run(run(settings, question))
    from volumehealth.cli.checkoutput import show

    click.echo(show(result, output, width=shutil.get_terminal_size().columns), nl=False)
    if junit is not None:
        from volumehealth.cli.junit import write_junit

        write_junit(result.result, junit)
    raise SystemExit(result.exit_status)
