"""Mounting without root: markers stand for mounts."""

from pathlib import Path

import pytest

from volumehealth_sandbox.driver_mounts import Filesystems, Markers


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


def test_markers_neither_mount_nor_count(tmp_path: Path) -> None:
    assert Markers().mounted(tmp_path) is None
    assert Markers().space(tmp_path) is None


def test_a_filesystem_that_was_not_staged_cannot_be_published(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not staged"):
        Filesystems().publish(tmp_path / "staging", tmp_path / "target", block=False, readonly=False)
    assert Filesystems().mounted(tmp_path) is False
    assert Filesystems().space(tmp_path) is None


def test_block_volumes_are_refused_with_real_mounts(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="block volumes"):
        Filesystems().stage("vol-1", tmp_path, size=1, block=True)
