"""`volumehealth report`: what the operator has found, as one page for people who have no kubectl."""

from pathlib import Path
from typing import Any

import click

from volumehealth.cli.options import cluster_options, namespace_option
from volumehealth.cli.reading import read_with
from volumehealth.model.clock import SystemClock


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="Where to write the page.",
)
@namespace_option("Show the claims of one namespace only.")
@cluster_options
def report(output: Path, namespace: str, kubeconfig: str | None) -> None:
    """Write what is unhealthy, since when, and what is not watched, as one HTML file.

    The file fetches nothing from a network and can be mailed. It reads what the operator has written; with the role `view` of
    one namespace use -n. It needs list on persistentvolumeclaims to count by class and namespace.
    """
    from volumehealth.cli.reportpage import render_report
    from volumehealth.oneshot.evidence import Evidence, read_evidence

    clock = SystemClock()

    async def read(api: Any) -> tuple[Evidence, str]:
        return await read_evidence(api, namespace=namespace, now=clock.now()), api.access.server

    evidence, server = read_with(kubeconfig, read)
    page = render_report(evidence, now=clock.now(), cluster=server)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"{output}: open it in a browser")
