"""What is known of drivers: one table for hints and the page, each row with its origin."""

from pathlib import Path

import pytest

from volumehealth.model.known_drivers import KNOWN, KnownDriver, known_driver, table

PAGE = (Path(__file__).parents[3] / "docs" / "known-drivers.md").read_text()


def test_the_page_has_the_table() -> None:
    assert PAGE.endswith(table())


@pytest.mark.parametrize("driver", KNOWN, ids=lambda driver: driver.name)
def test_every_row_says_where_it_comes_from(driver: KnownDriver) -> None:
    assert driver.origin


def test_names_are_unique_and_a_prefix_is_understood() -> None:
    assert len({driver.name for driver in KNOWN}) == len(KNOWN)
    rook = known_driver("rook-ceph.rbd.csi.ceph.com")
    assert rook is not None
    assert rook.title == "Ceph RBD"
    assert known_driver("notrbd.csi.ceph.com.example") is None


def test_a_driver_with_a_flag_is_told_the_flag_first() -> None:
    powerstore = known_driver("csi-powerstore.dellemc.com")
    assert powerstore is not None
    assert powerstore.advice.startswith("first turn on the driver's health monitor")


def test_of_a_driver_without_a_health_call_nothing_is_asked() -> None:
    ebs = known_driver("ebs.csi.aws.com")
    assert ebs is not None
    assert ebs.advice == ""
