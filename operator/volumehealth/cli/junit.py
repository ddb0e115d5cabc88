"""`volumehealth check --junit FILE`: a check as the tests of a CI pipeline."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import click

from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import rfc3339
from volumehealth.model.text import count
from volumehealth.report.text import clean

_SUITE = "volumehealth check"


def write_junit(result: CheckResult, file: str) -> None:
    """Write a check as JUnit XML.

    A driver or an endpoint that does not answer is an error, each finding a failure; what is not monitored is skipped, and what is
    healthy passes as one test, so that the file stays small in a cluster of ten thousand claims.

    Raises:
        click.ClickException: if the file cannot be written.
    """
    cases = list(_cases(result))
    suite = Xml.Element(
        "testsuite",
        name=_SUITE,
        timestamp=rfc3339(result.now),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
    )
    suite.extend(cases)
    suites = Xml.Element("testsuites")
    suites.append(suite)
    Xml.indent(suites)
    try:
        Path(file).write_bytes(Xml.tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n")
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from None


def _cases(result: CheckResult) -> Iterator[Xml.Element]:
    for name, driver in sorted(result.drivers.items()):
        answers = not driver.state.is_down
        yield _case("drivers", f"{name} answers", "" if answers else "error", driver.message)
    for endpoint in result.unresolved:
        yield _case("drivers", f"{endpoint} answers", "error", "no answer, so nothing is known of its driver")
    for ref in sorted(result.healths):
        for finding in result.healths[ref].findings:
            yield _case(f"claims.{ref.namespace}", f"{ref}: {finding.headline}", "failure", finding.message)
    for group in result.unknown:
        words = f"{count(group.claims, 'claim')} of {group.driver} unknown: {group.reason}"
        yield _case("claims", words, "error", group.message)
    counts = result.counts
    if counts.unmonitored:
        yield _case("claims", f"{count(counts.unmonitored, 'claim')} not monitored", "skipped", "")
    if counts.healthy or not counts.selected:
        nothing = "" if counts.selected else "the policy selects no claim"
        yield _case(
            "claims", f"{count(counts.healthy, 'claim')} healthy", "failure" if nothing else "", nothing
        )


def _case(group: str, name: str, outcome: str, message: str) -> Xml.Element:
    case = Xml.Element("testcase", classname=f"volumehealth.{group}", name=clean(name))
    if outcome:
        Xml.SubElement(case, outcome, message=clean(message) or clean(name))
    return case
