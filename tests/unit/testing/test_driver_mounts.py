"""Mounting without root: markers stand for mounts."""

from pathlib import Path

import pytest

from volumehealth.testing.driver_mounts import Markers


def test_a_filesystem_is_a_directory_and_goes_when_unpublished(tmp_path: Path) -> None:
    target = tmp_path / "pods/1/mount"
    for _ in range(2):
        Markers().publish(None, target, block=False, readonly=False)
    assert target.is_dir()
    for _ in range(2):
        Markers().unpublish(target)
    assert not target.exists()


def test_a_block_volume_is_a_file(tmp_path: Path) -> None:
    target = tmp_path / "pods/1/device"
    Markers().publish(None, target, block=True, readonly=False)
    assert target.is_file()
    Markers().unpublish(target)
    assert not target.exists()


def test_what_somebody_put_there_is_not_removed(tmp_path: Path) -> None:
    target = tmp_path / "mount"
    Markers().publish(None, target, block=False, readonly=False)
    (target / "data").touch()
    with pytest.raises(OSError, match="not empty"):
        Markers().unpublish(target)
    assert (target / "data").exists()
