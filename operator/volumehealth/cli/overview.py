"""`volumehealth status`, `drivers` and `history`: what the operator has found, for a person."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from volumehealth.cli.options import cluster_options, form_option, namespace_option
from volumehealth.cli.reading import read_with, screen
from volumehealth.errors import ApiError
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef
from volumehealth.model.text import visible

T = TypeVar("T")

_EVERY = 2.0
"""Seconds between two looks of `--watch`."""

_output = click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml"]), default="table", show_default=True
)


def watched(look: Callable[[], T], pause: Callable[[float], None]) -> Iterator[tuple[T, str]]:
    """Look again and again; while the API server cannot be read, what was seen last stays, with a line that says so.

    Raises:
        ApiError: if it cannot be read the first time.
    """
    found, trouble = look(), ""
    while True:
        yield found, trouble
        pause(_EVERY)
        try:
            found, trouble = look(), ""
        except ApiError as error:
            trouble = f"CANNOT BE READ NOW, this is what was seen last: {error}"


@click.command()
@namespace_option("Show the claims of one namespace only.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Show the claims of all namespaces (the default).")
@click.option("-w", "--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@_output
@cluster_options
def status(namespace: str, all_namespaces: bool, watch: bool, output: str, kubeconfig: str | None) -> None:
    """Show what is unhealthy, worst first, and what is not watched.

    It reads what the operator has written; with the role `view` of one namespace use -n.

    Exit status: 0 healthy, 1 unhealthy, 3 nothing unhealthy but something unknown or not watched, 2 error.
    """
    if namespace and all_namespaces:
        raise click.UsageError("-n and -A exclude each other")
    from volumehealth.cli.overviewoutput import show_status
    from volumehealth.oneshot.overview import Overview, read_overview

    clock = SystemClock()

    def look() -> Overview:
        found: Overview = read_with(
            kubeconfig, lambda api: read_overview(api, namespace=namespace, now=clock.now())
        )
        return found

    for found, trouble in watched(look, time.sleep) if watch else ():
        page = show_status(found, output, now=clock.now(), **screen())
        click.clear()
        if trouble:
            click.echo(visible(trouble))
        click.echo(page, nl=False)
    found = look()
    click.echo(show_status(found, output, now=clock.now(), **screen()), nl=False)
    raise SystemExit(found.exit_status)


@click.command()
@_output
@cluster_options
def drivers(output: str, kubeconfig: str | None) -> None:
    """Show what each CSI driver can tell, and what would make it tell more."""
    from volumehealth.cli.overviewoutput import show_drivers
    from volumehealth.oneshot.overview import read_drivers, read_rest

    clock = SystemClock()

    async def read(api: Any) -> tuple[Any, list[str]]:
        return await read_drivers(api), await read_rest(api, now=clock.now())

    found, rest = read_with(kubeconfig, read)
    if found is None:
        raise click.ClickException(
            "VolumeHealthDrivers cannot be read: the operator is not installed, or you need the right to list volumehealthdrivers"
        )
    click.echo(show_drivers(found, output, rest=rest, **screen()), nl=False)


@click.command()
@click.argument("claim", metavar="NAMESPACE/CLAIM")
@form_option
@cluster_options
def history(claim: str, output: str, kubeconfig: str | None) -> None:
    """Show what has happened to one claim, as a timeline."""
    ref = ClaimRef.parse(claim)
    if ref is None:
        raise click.UsageError(f"{claim!r} is not NAMESPACE/CLAIM")
    from volumehealth.cli.overviewoutput import show_history
    from volumehealth.oneshot.overview import read_rest
    from volumehealth.oneshot.reading import check_claim, read_record

    clock = SystemClock()

    async def read(api: Any) -> tuple[Any, list[str]]:
        record = await read_record(api, ref)
        if record is None:
            await check_claim(api, ref)
            return None, []
        return record, await read_rest(
            api, now=clock.now(), policy=(record.get("status") or {}).get("policy")
        )

    record, rest = read_with(kubeconfig, read)
    click.echo(show_history(record, claim, output, rest=rest, **screen()), nl=False)
