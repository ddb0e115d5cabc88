"""`volumehealth silence`: an end is needed, and a wrong one is a sentence."""

import pytest
from click.testing import CliRunner

from volumehealth.cli.silence import silence, unsilence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shop/a"], "a silence has an end"),
        (["shop/a", "--for", "4h", "--until", "2026-12-01T06:00Z"], "a silence has an end"),
        (["shop/a", "--for", "4 hours"], "--for: must be a duration such as"),
        (["shop/a", "--until", "tomorrow"], "--until: it is not a time with a zone"),
        (["shop/a", "--until", "2020-01-01T00:00Z"], "over already"),
        (["shop/a", "--for", "90000h"], "more than a year"),
        (["a", "--for", "4h"], "namespace NAME, or node NAME"),
        (["secret", "shop/a", "--for", "4h"], "is none of these"),
    ],
)
def test_what_cannot_be_a_silence_is_refused_with_a_way_out(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(silence, arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_unsilence_takes_the_same_names() -> None:
    assert CliRunner().invoke(unsilence, ["a/b/c"]).exit_code == 2
