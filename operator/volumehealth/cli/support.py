"""`volumehealth support`: one bundle for whoever helps, cleaned of secrets."""

import os
import stat
from pathlib import Path

import click

from volumehealth.cli.options import cluster_options, namespace_of_operator
from volumehealth.cli.reading import read_with
from volumehealth.model.clock import SystemClock
from volumehealth.model.text import visible


@click.command()
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    help="Where to write it. Default: volumehealth-support-DATE.tar.gz here.",
)
@namespace_of_operator
@cluster_options
def support(file: str | None, operator_namespace: str, kubeconfig: str | None) -> None:
    """Collect policies, records, drivers, reports, workloads, Events, metrics and logs into one tar.gz.

    Secrets and ConfigMaps are not read. Volume attributes, parameters, annotations, variables and arguments of
    containers are left out, and credentials in texts are masked. Look into it before you send it on.
    """
    from volumehealth.oneshot.support import collect

    now = SystemClock().now()
    bundle = read_with(kubeconfig, lambda api: collect(api, operator_in=operator_namespace))
    path = Path(file or f"volumehealth-support-{now:%Y%m%dT%H%MZ}.tar.gz")
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            if stat.S_ISREG(os.fstat(out.fileno()).st_mode):
                os.fchmod(out.fileno(), 0o600)  # it may have been there, for everybody to read
            out.write(bundle.archive(now))
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"{path}: {len(bundle.files)} files")
    for line in bundle.missing:
        click.echo(f"not read: {visible(line)}")
