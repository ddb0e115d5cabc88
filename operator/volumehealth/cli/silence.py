"""`volumehealth silence` and `unsilence`: annotations on a claim, a namespace or a node, with the user's own rights."""

from datetime import datetime, timedelta
from typing import Any

import click

from volumehealth.cli.options import cluster_options
from volumehealth.cli.reading import read_with
from volumehealth.errors import Forbidden, NotFound
from volumehealth.model.clock import SystemClock, date_and_time
from volumehealth.model.ids import ClaimRef, is_name
from volumehealth.policy.durations import parse_duration
from volumehealth.policy.silence import LONGEST, annotations, parse_until

_MERGE = "application/merge-patch+json"
_HELP = "NAMESPACE/CLAIM, or namespace NAME, or node NAME"


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="[KIND] NAME")
@click.option("--for", "length", metavar="DURATION", help="How long, such as 4h or 30m.")
@click.option("--until", metavar="TIME", help="Until when instead, such as 2026-12-01T06:00Z.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is shown wherever the silence is.")
@cluster_options
def silence(
    what: tuple[str, ...], length: str | None, until: str | None, reason: str, kubeconfig: str | None
) -> None:
    """Have people not told of a claim, of a namespace's claims, or of a node, until it is over.

    Checks go on, and what is found is counted and shown. What is still wrong at the end is told then.
    """
    path, name = _target(what)
    end = _end(length, until, SystemClock().now())
    _annotate(path, name, end, reason, kubeconfig)
    click.echo(f"{name} is silenced until {date_and_time(end)} ({end:%Y-%m-%dT%H:%MZ})")


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="[KIND] NAME")
@cluster_options
def unsilence(what: tuple[str, ...], kubeconfig: str | None) -> None:
    """End a silence now: what is wrong is told at the next check."""
    path, name = _target(what)
    _annotate(path, name, None, "", kubeconfig)
    click.echo(f"{name} is not silenced")


def _annotate(path: str, name: str, until: datetime | None, reason: str, kubeconfig: str | None) -> None:
    body = {"metadata": {"annotations": annotations(until, reason)}}

    async def patch(api: Any) -> None:
        try:
            await api.request("PATCH", path, body=body, content_type=_MERGE)
        except NotFound:
            raise NotFound(f"{name} does not exist") from None
        except Forbidden as error:
            raise Forbidden(
                f"you may not silence {name}, which takes the right to patch it: {error}"
            ) from None

    read_with(kubeconfig, patch)


def _end(length: str | None, until: str | None, now: datetime) -> datetime:
    if (length is None) == (until is None):
        raise click.UsageError("give either --for DURATION or --until TIME: a silence has an end")
    try:
        end = now + parse_duration(length) if length is not None else parse_until(until or "", now)
    except (ValueError, OverflowError) as error:
        raise click.UsageError(f"{'--for' if length is not None else '--until'}: {error}") from None
    if end <= now + timedelta(seconds=1):
        raise click.UsageError("the silence would be over already")
    if end - now > LONGEST:
        raise click.UsageError("the silence would last for more than a year")
    return end


def _target(what: tuple[str, ...]) -> tuple[str, str]:
    """Return the path of the object, and how people name it."""
    named = len(what) == 2 and is_name(what[1])
    if named and what[0].lower() in ("namespace", "ns"):
        return f"/api/v1/namespaces/{what[1]}", f"namespace {what[1]}"
    if named and what[0].lower() in ("node", "no"):
        return f"/api/v1/nodes/{what[1]}", f"node {what[1]}"
    text = what[-1] if len(what) == 1 or (len(what) == 2 and what[0].lower() in ("pvc", "claim")) else ""
    ref = ClaimRef.parse(text)
    if ref is None:
        raise click.UsageError(f"{' '.join(what)!r} is none of these: {_HELP}")
    return f"/api/v1/namespaces/{ref.namespace}/persistentvolumeclaims/{ref.name}", text
