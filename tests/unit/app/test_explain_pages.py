"""The operator's page on one claim: for who knows the claim's uid, and for nobody else."""

import msgspec
import pytest

from support.health import START
from volumehealth.app.explain import ExplainPages
from volumehealth.model.explanation import Explanation
from volumehealth.model.ids import ClaimRef

UID = "0b8a7a3c-41fe-4d4e-9d1a-4f6c8f1d2a3b"


def explain(ref: ClaimRef) -> Explanation | None:
    known = ref == ClaimRef("shop", "orders-db")
    return Explanation(str(ref), UID, START, told_by="Operator", verdict="Healthy") if known else None


def test_a_claim_is_shown_to_who_knows_its_uid() -> None:
    pages = ExplainPages()
    pages.working(explain)
    page = pages(f"shop/orders-db/{UID}")
    assert page is not None
    assert msgspec.json.decode(page.body, type=Explanation).verdict == "Healthy"


@pytest.mark.parametrize(
    "path",
    ["", "shop", "shop/orders-db", "shop/orders-db/", f"shop/orders-db/{UID[:-1]}", f"shop/other/{UID}"],
)
def test_to_everybody_else_the_page_does_not_exist(path: str) -> None:
    pages = ExplainPages()
    pages.working(explain)
    assert pages(path) is None


def test_a_process_that_stands_by_says_so() -> None:
    page = ExplainPages()(f"shop/orders-db/{UID}")
    assert page is not None
    assert not page.ok
