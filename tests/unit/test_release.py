"""What a release consists of: one version everywhere, a changelog that says something, sums over all files."""

import hashlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from support.script import load
from volumehealth import __version__

ROOT = Path(__file__).parents[2]
PARTS = (
    "charts/volumehealth/Chart.yaml",
    "pyproject.toml",
    "deploy/kustomization.yaml",
    "deploy/agent/kustomization.yaml",
    "CHANGELOG.md",
)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """`charts/release.py`, which belongs to no package."""
    return load(ROOT / "charts" / "release.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that name the version."""
    for part in PARTS:
        target = tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, target)
    return tmp_path


def test_one_version_stands_everywhere(release: ModuleType) -> None:
    assert [fault for fault in release.faults(ROOT, __version__) if "CHANGELOG" not in fault] == []


def test_every_place_that_says_another_version_is_named(release: ModuleType, checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [0.1.0]\n\n- Something.\n")
    assert [fault.partition(":")[0] for fault in release.faults(checkout, "99.0.0")] == [
        "Chart.yaml",
        "Chart.yaml",
        "pyproject.toml",
        "deploy/kustomization.yaml",
        "deploy/agent/kustomization.yaml",
        "CHANGELOG.md",
    ]


def test_the_next_releases_part_of_the_changelog_ends_where_the_last_one_begins(release: ModuleType) -> None:
    changelog = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- New.\n\n## [0.1.0]\n\n- Old.\n"
    assert release.unreleased(changelog) == "### Added\n\n- New."


def test_the_sums_are_over_every_file_but_themselves(release: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"b")
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "SHA256SUMS").write_bytes(b"old")
    lines = release.checksums(tmp_path).splitlines()
    assert lines == [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}" for name in ("a", "b")]
