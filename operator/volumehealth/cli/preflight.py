"""`volumehealth preflight`: what can be heard of each driver, what would make it tell more, and what to type next."""

import click

from volumehealth.cli.options import cluster_options, form_option
from volumehealth.cli.reading import camel_case, data_text, read_with, screen_width, wrapped
from volumehealth.model.text import count, visible
from volumehealth.oneshot.preflight import DriverPlan, Preflight, read_cluster
from volumehealth.oneshot.preflight import preflight as look


@click.command()
@form_option
@cluster_options
def preflight(output: str, kubeconfig: str | None) -> None:
    """Look at the cluster before or after the installation: each driver, what blocks it, the next command.

    It reads drivers, nodes, volumes, workloads, quotas and namespaces, and changes nothing.

    Exit status: 0 nothing to do, 1 something to do, 3 nothing as far as your rights show, 2 error.
    """
    found = look(read_with(kubeconfig, read_cluster))
    if output == "table":
        click.echo(show_preflight(found, width=screen_width()), nl=False)
    else:
        click.echo(data_text(camel_case(found), output), nl=False)
    raise SystemExit(found.exit_status)


def show_preflight(found: Preflight, *, width: int) -> str:
    """Return the page; `width` in columns, 80 at least."""
    lines = ["CLUSTER"]
    columns = max(80, width)
    for point in found.points:
        lines += _wrapped("  ok    " if point.well else "  to do ", point.text, columns)
    lines += ["", "DRIVERS"]
    for driver in found.drivers:
        lines += _driver(driver, found.nodes, columns)
    if not found.drivers:
        lines.append("  none: no CSIDriver, no CSINode and no volume names one")
    if found.steps:
        lines += ["", "NEXT"]
    for number, step in enumerate(found.steps, 1):
        lines.append(f"  {number}. {visible(step)}")  # to be copied: never broken
    if found.not_known:
        lines += ["", "NOT KNOWN"]
    for line in found.not_known:
        lines += _wrapped("  ", line, columns)
    return "\n".join(lines) + "\n"


def _driver(driver: DriverPlan, nodes: int, columns: int) -> list[str]:
    title = f" ({driver.title})" if driver.title else ""
    place = f"registered on {driver.nodes} of {count(nodes, 'node')}"
    head = f"{driver.name}{title}: {count(driver.claims, 'volume')}, {place}"
    lines = _wrapped("  ", head, columns)
    lines += _wrapped("    today   ", driver.today, columns)
    if driver.more:
        lines += _wrapped("    more    ", driver.more, columns)
    for block in driver.blocks:
        lines += _wrapped("    blocks  ", block, columns)
    if driver.steps:
        lines += _wrapped("    next    ", f"step {', then '.join(map(str, driver.steps))}", columns)
    return lines


def _wrapped(label: str, text: str, columns: int) -> list[str]:
    return wrapped(text, columns, first=label, rest=" " * max(4, len(label)))
