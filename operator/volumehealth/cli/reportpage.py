"""The page of `volumehealth report`: one file that fetches nothing."""

import re
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from volumehealth import __version__
from volumehealth.cli.reportfacts import find_facts
from volumehealth.cli.runbooks import OWN_WORD, WIDE, read_runbooks
from volumehealth.model.clock import date
from volumehealth.model.text import count
from volumehealth.oneshot.evidence import Evidence

_HERE = Path(__file__).parent


def _breakable(text: str) -> Markup:
    """Let a long name be broken after its dots, dashes and slashes, and nowhere else."""
    return Markup(re.sub(r"([./-])", r"\1<wbr>", str(escape(text))))  # noqa: S704 - escaped one line above


def render_report(evidence: Evidence, *, now: datetime, cluster: str) -> str:
    """Write the page.

    Args:
        evidence: what was read.
        now: the moment of the report.
        cluster: its name, or its address; it is shown.

    Returns:
        HTML. Every text of a driver or a kernel is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["counted"] = count
    return environment.get_template("report.html").render(
        facts=find_facts(evidence, now),
        namespace=evidence.overview.namespace,
        installed=evidence.overview.installed,
        own_word=OWN_WORD,
        wide=WIDE,
        runbooks=read_runbooks(),
        made=f"{date(now)} {now:%Y %H:%M UTC}",
        cluster=cluster,
        version=__version__,
    )
