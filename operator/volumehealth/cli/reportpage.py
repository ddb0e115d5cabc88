"""The page of `volumehealth report`: one file that fetches nothing."""

import json
import re
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from volumehealth import __version__
from volumehealth.cli.reportfacts import find_facts
from volumehealth.oneshot.evidence import Evidence

_HERE = Path(__file__).parent
RUNBOOKS = _HERE / "runbooks.json"
"""By reason, the parts of its runbook in order: made from docs/runbooks.md by docs/runbooks.py."""

_OWN_WORD = {
    "First": "Read the message: it is the driver's own word. Look at what the storage system says of the volume.",
    "Do not": "delete the claim or its volume.",
}
"""Of a reason that a driver chose, so that no runbook can be about it."""


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
    return environment.get_template("report.html").render(
        facts=find_facts(evidence, now),
        namespace=evidence.overview.namespace,
        installed=evidence.overview.installed,
        own_word=_OWN_WORD,
        runbooks=json.loads(RUNBOOKS.read_text()),
        made=now.strftime("%d %b %Y %H:%M UTC"),
        cluster=cluster,
        version=__version__,
    )
