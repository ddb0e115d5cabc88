"""An output looks at what has changed, and at what it has not settled; at nothing else, and never at less."""

from collections.abc import Mapping

from support.health import make_claim, make_finding, make_health
from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef
from volumehealth.report.agenda import Agenda

A, B, C = (make_claim(name) for name in "abc")
REFS = (A.ref, B.ref)


def found() -> dict[ClaimRef, ClaimHealth]:
    return {claim.ref: make_health(claim, make_finding()) for claim in (A, B)}


def settled(healths: Mapping[ClaimRef, ClaimHealth]) -> Agenda:
    """Return an agenda after a check in which everything was settled."""
    agenda = Agenda()
    for ref in agenda.of("storage", healths):
        agenda.settle("storage", ref)
    return agenda


def test_at_first_every_claim_is_looked_at() -> None:
    assert tuple(Agenda().of("storage", found())) == REFS


def test_what_is_not_settled_is_looked_at_again() -> None:
    agenda, healths = Agenda(), found()
    agenda.of("storage", healths)
    agenda.settle("storage", A.ref)
    assert agenda.of("storage", healths) == [B.ref]
    assert agenda.of("storage", dict(healths)) == [B.ref]


def test_a_claim_that_was_judged_anew_is_looked_at_again_even_if_it_is_equal() -> None:
    healths = found()
    agenda = settled(healths)
    assert agenda.of("storage", {**healths, B.ref: found()[B.ref]}) == [B.ref]


def test_a_claim_of_which_nothing_is_found_any_more_is_looked_at_until_that_is_settled() -> None:
    healths = found()
    agenda = settled(healths)
    left = {A.ref: healths[A.ref]}
    assert agenda.of("storage", left) == [B.ref]
    assert agenda.of("storage", left) == [B.ref]
    agenda.settle("storage", B.ref)
    assert agenda.of("storage", left) == []


def test_a_check_that_an_output_never_saw_hides_no_change() -> None:
    healths = found()
    agenda = settled(healths)
    passed_over = {**healths, A.ref: found()[A.ref]}
    assert agenda.of("storage", {**passed_over, B.ref: found()[B.ref]}) == list(REFS)


def test_claims_whose_pods_or_records_change_are_looked_at_again() -> None:
    healths = found()
    agenda = settled(healths)
    agenda.look_again([B.ref, C.ref])
    assert agenda.of("storage", healths) == [B.ref], "nothing was found of the third"
    agenda.look_again(None)
    assert set(agenda.of("storage", healths)) == set(REFS)


def test_what_one_policy_settles_another_still_has_to_look_at() -> None:
    healths = found()
    agenda = settled(healths)
    assert tuple(agenda.of("other", healths)) == REFS
    agenda.look_again(None, policy="other")
    assert agenda.of("storage", healths) == []


def test_a_claim_that_is_given_to_a_policy_is_looked_at_though_it_found_nothing() -> None:
    healths = found()
    agenda = settled(healths)
    agenda.add("storage", [C.ref])
    assert agenda.of("storage", healths) == [C.ref]


def test_a_policy_that_is_made_again_begins_anew() -> None:
    healths = found()
    agenda = settled(healths)
    agenda.forget("storage")
    assert tuple(agenda.of("storage", healths)) == REFS
