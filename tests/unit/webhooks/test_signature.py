"""If these fail, a stranger can plant refusals, or Stripe's own posts are turned away and usage is lost."""

import hashlib
import hmac
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
import stripe
from hypothesis import assume, given

from fixtures.twin.signing import signature_header
from webhooks.signature import verify
from workers.kernel.errors import SignatureRefused

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
AT = int(NOW.timestamp())
BODY = '{"id": "evt_1", "note": "größe 🧮"}'.encode()
SECRET = "whsec_made_up_for_tests"


def v1(body: bytes = BODY, secret: str = SECRET, at: int = AT) -> str:
    return hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()


def refusal(header: str | None, *, body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> str | None:
    try:
        verify(body, header, secrets, now=NOW, tolerance=300)
    except SignatureRefused as error:
        return error.slug
    return None


def test_stripes_header_vouches_for_its_body() -> None:
    assert refusal(f"t={AT},v1={v1()}") is None


def test_the_twins_own_signer_is_believed() -> None:
    assert refusal(signature_header(BODY, ["whsec_other", SECRET], AT, test_scheme=True)) is None


@pytest.mark.parametrize("header", [None, ""])
def test_a_missing_header_is_named(header: str | None) -> None:
    assert refusal(header) == "missing_signature"


@pytest.mark.parametrize(
    "header",
    [
        "nonsense",
        f"v1={v1()}",
        f"t={AT}",
        f"t={AT},v0={v1()}",
        f"t={AT},v1=",
        f"t=,v1={v1()}",
        f"t=soon,v1={v1()}",
        f"t=-{AT},v1={v1()}",
        f"t={AT}.0,v1={v1()}",
        f"t=1_000,v1={v1()}",
        f"t={'9' * 5000},v1={v1()}",
        f"t=\u0661\u0662,v1={v1()}",
        f"t={AT},v1=\u00e9{v1()}",
        f"t={AT};v1={v1()}",
        f"T={AT},V1={v1()}",
        ",,,",
        "=",
    ],
)
def test_a_header_without_a_time_and_a_v1_is_malformed(header: str) -> None:
    assert refusal(header) == "malformed_signature"


@pytest.mark.parametrize(
    "header",
    [
        f"t={AT},v1={'0' * 64}",
        f"t={AT},v1={v1()[:-1]}",
        f"t={AT},v1={v1().upper()}",
        f"t={AT + 1},v1={v1()}",
        f"t={AT},v1={v1(secret='whsec_someone_else')}",
        f"t={AT},v0={v1()},v1=bad",
        f"t={AT}, v1={v1()},v1=bad",
    ],
)
def test_a_signature_that_does_not_match_is_bad(header: str) -> None:
    assert refusal(header) == "bad_signature"


def test_a_changed_body_is_bad() -> None:
    assert refusal(f"t={AT},v1={v1()}", body=BODY + b" ") == "bad_signature"


def test_a_body_that_is_no_text_is_bad_even_if_signed() -> None:
    assert refusal(f"t={AT},v1={v1(b'ff')}", body=b"\xff") == "bad_signature"
    assert refusal(f"t={AT},v1={v1(body=bytes([255]))}", body=b"\xff") == "bad_signature"


def test_an_empty_body_may_be_signed() -> None:
    assert refusal(f"t={AT},v1={v1(b'')}", body=b"") is None


def test_no_secret_and_blank_secrets_vouch_for_nothing() -> None:
    assert refusal(f"t={AT},v1={v1()}", secrets=()) == "bad_signature"
    assert refusal(f"t={AT},v1={v1(secret='')}", secrets=("",)) == "bad_signature"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_any_of_several_secrets_suffices(position: int) -> None:
    secrets = [f"whsec_{number}" for number in range(3)]
    assert refusal(f"t={AT},v1={v1(secret=secrets[position])}", secrets=tuple(secrets)) is None


def test_any_of_several_signatures_suffices_while_a_secret_is_rolled() -> None:
    assert refusal(f"t={AT},v1={'0' * 64},v1={v1()}") is None
    assert refusal(f"t={AT},v1={v1()},v1={'0' * 64}") is None


@pytest.mark.parametrize("age", [-300, -299, 0, 299, 300])
def test_a_time_within_the_tolerance_is_believed(age: int) -> None:
    assert refusal(f"t={AT - age},v1={v1(at=AT - age)}") is None


@pytest.mark.parametrize("age", [-(10**9), -301, 301, AT])
def test_a_time_too_far_off_on_either_side_is_refused(age: int) -> None:
    assert refusal(f"t={AT - age},v1={v1(at=AT - age)}") == "too_old"


def test_a_forged_and_old_header_is_called_forged() -> None:
    assert refusal(f"t=1,v1={v1()}") == "bad_signature"


header_text = st.one_of(
    st.text(st.characters(codec="latin-1"), max_size=80),
    st.lists(
        st.sampled_from([f"t={AT}", f"v1={v1()}", "v1=no", f"v0={v1()}", "t=1", "t=x", "x", ""]), max_size=5
    ).map(",".join),
)


@given(header_text)
def test_nothing_is_believed_that_the_sdk_refuses(header: str) -> None:
    if refusal(header) is None:
        assert stripe.WebhookSignature.verify_header(BODY, header, SECRET, tolerance=None)


@given(st.text(max_size=200), st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_everything_is_believed_that_the_sdk_signs(text: str, secret: str) -> None:
    assume(secret.strip() and text.isprintable())
    header = stripe.WebhookSignature.generate_signature_header(text, secret, timestamp=AT)
    assert refusal(header, body=text.encode(), secrets=("whsec_other", secret)) is None
