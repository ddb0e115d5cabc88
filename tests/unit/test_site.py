"""The pages as a site: it builds with every link checked, fetches nothing, and the commands in it are commands that exist."""

import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from volumehealth.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```(?:console|bash|sh)?\n(.*?)```", re.DOTALL)
PROGRAMS = ("volumehealth", "kubectl", "helm")
SCHEMA = json.loads((ROOT / "charts/volumehealth/values.schema.json").read_text())


def commands() -> Iterator[tuple[str, str]]:
    """Yield each command line of a page that begins with a prompt, and those in one line of code: page and line."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        lines = [
            line[2:] for block in BLOCK.findall(text) for line in block.splitlines() if line.startswith("$ ")
        ]
        lines += re.findall(r"`((?:kubectl )?volumehealth [a-z]+[^`]*)`", text)
        for line in lines:
            yield page.name, line.partition(" #")[0].strip()


COMMANDS = sorted({(page, line) for page, line in commands() if line.split(" ")[0] in PROGRAMS})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_build_fails_where_a_page_warns(tmp_path: Path) -> None:
    """`--quiet` would drop the warnings before `--strict` counts them."""
    for name in ("docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    config = (ROOT / "mkdocs.yml").read_text().replace("- Comparison: comparison.md\n", "")
    (tmp_path / "mkdocs.yml").write_text(config)
    (command,) = re.findall(r"\$\(BIN\)/mkdocs (build[^#\n]*)", (ROOT / "Makefile").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *command.split(), "--site-dir", str(tmp_path / "site")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode != 0
    assert "comparison.md" in done.stderr


def test_every_page_is_in_the_site(site: Path) -> None:
    made = {file.stem for file in site.glob("*.html")}
    assert {page.stem for page in PAGES if page.parent.name == "docs"} <= made


def test_every_page_is_in_the_navigation_once() -> None:
    """A page that is not in it is found by search or by a link alone."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages_of(nav)) == [page.name for page in PAGES if page.parent.name == "docs"]


def pages_of(place: Any) -> Iterator[str]:
    """Yield the pages that a part of the navigation names."""
    if isinstance(place, str):
        yield place
    else:
        for below in place.values() if isinstance(place, dict) else place:
            yield from pages_of(below)


def test_a_page_of_the_site_fetches_nothing(site: Path) -> None:
    fetched = {
        found
        for page in site.glob("*.html")
        for found in re.findall(r'<(?:script|img|iframe)[^>]+src="((?:https?:)?//[^"]+)', page.read_text())
        + re.findall(
            r'<link[^>]+rel="(?:stylesheet|preconnect|icon)"[^>]+href="((?:https?:)?//[^"]+)',
            page.read_text(),
        )
    }
    assert fetched == set()


def _split(line: str) -> list[str]:
    return [word for word in shlex.split(line.split("|")[0]) if not word.startswith(("[", "..."))]


@pytest.mark.parametrize(
    ("page", "line"), [one for one in COMMANDS if "volumehealth" in one[1].split(" ")[:2]], ids=str
)
def test_a_command_of_volumehealth_exists_with_its_options(page: str, line: str) -> None:
    words = _split(line)
    command: click.Command = cli
    rest = words[words.index("volumehealth") + 1 :]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"{page}: {line}"
        command, rest = found, rest[1:]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= {"-h", "--help", "--version"}
    assert {word.split("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)} <= known, f"{page}: {line}"


@pytest.mark.parametrize(("page", "line"), [one for one in COMMANDS if one[1].startswith("helm ")], ids=str)
def test_a_value_that_a_helm_command_sets_is_in_the_schema(page: str, line: str) -> None:
    words = _split(line)
    for flag, value in itertools.pairwise(words):
        if flag == "--set":
            place: Any = SCHEMA
            for key in value.partition("=")[0].split("."):
                place = place["properties"][key]
    for word in words:
        if word.startswith("charts/"):
            assert (ROOT / word).exists(), f"{page}: {line}"


@pytest.mark.parametrize(
    ("page", "line"), [one for one in COMMANDS if one[1].startswith("kubectl ")], ids=str
)
def test_a_file_that_a_kubectl_command_applies_is_there(page: str, line: str) -> None:
    words = _split(line)
    for flag, value in itertools.pairwise(words):
        if flag in ("-f", "-k") and value.startswith(("deploy", "examples", "crds")):
            assert (ROOT / value).exists(), f"{page}: {line}"


EXECUTED = {
    "agent": "test_any_user.py",
    "check": "test_check_command.py",
    "completion": "test_krew.py",
    "drivers": "test_overview_command.py",
    "explain": "test_explain_command.py",
    "history": "test_overview_command.py",
    "operator": "test_any_user.py",
    "preflight": "test_preflight_command.py",
    "report": "test_overview_command.py",
    "sandbox": "test_sandbox_commands.py",
    "silence": "test_silence_command.py",
    "status": "test_overview_command.py",
    "support": "test_support_command.py",
    "unsilence": "test_silence_command.py",
}
"""The commands that pages name, and below tests/integration the tests that run each on a real API server. Beside these,
`test_first_hour.py` types every line of docs/first-hour.md, `test_examples.py` applies every file of examples/, and the e2e scenes
(docs/e2e.md) install with helm and with kustomize on a real kubelet."""


def test_each_command_that_pages_name_is_run_by_a_test() -> None:
    named = {
        words[1]
        for _, line in COMMANDS
        if (words := line.removeprefix("kubectl ").split())[0] == "volumehealth" and len(words) > 1
    }
    assert {name for name in named if not name.startswith("-")} <= EXECUTED.keys()
    for name, file in EXECUTED.items():
        assert f'"{name}"' in (ROOT / "tests" / "integration" / file).read_text(), (
            f"{file} does not run {name}"
        )
