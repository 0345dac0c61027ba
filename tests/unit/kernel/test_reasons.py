"""If these fail, a record waits and nobody is told what to do about it."""

from workers.kernel import reasons
from workers.kernel.reasons import FORM, HELD_AT_SIGHT, REASONS, SENT_BEFORE, UNCERTAIN, step_of


def test_every_reason_has_a_sentence_and_a_next_step() -> None:
    slugs = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert set(REASONS) == {*FORM, *slugs}
    for known in REASONS.values():
        assert known.sentence.endswith(".")
        assert known.step.endswith(".")


def test_what_a_plain_retry_leaves_alone_is_told_of() -> None:
    assert {*SENT_BEFORE, *HELD_AT_SIGHT} <= set(UNCERTAIN) <= set(REASONS)


def test_a_code_of_stripes_has_no_step_here() -> None:
    assert step_of("meter_event_customer_not_found") is None
