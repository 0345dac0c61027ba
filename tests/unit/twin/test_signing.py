"""The twin's signature against Stripe's own verifier: a wrong one would let our verifier pass by agreement."""

import time

import pytest
import stripe

from fixtures.twin.signing import signature_header

BODY = '{"id": "evt_1", "naïve": "ünïcode"}'


@pytest.mark.parametrize("secret", ["whsec_old", "whsec_new"])
def test_each_of_several_secrets_verifies(secret: str) -> None:
    header = signature_header(BODY.encode(), ["whsec_old", "whsec_new"], int(time.time()), test_scheme=True)
    assert stripe.WebhookSignature.verify_header(BODY, header, secret, 300)


@pytest.mark.parametrize(
    ("body", "secret", "age"), [(BODY + " ", "whsec_a", 0), (BODY, "whsec_b", 0), (BODY, "whsec_a", 301)]
)
def test_another_body_secret_or_time_does_not_verify(body: str, secret: str, age: int) -> None:
    header = signature_header(BODY.encode(), ["whsec_a"], int(time.time()) - age)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body, header, secret, 300)


def test_the_test_scheme_alone_does_not_verify() -> None:
    header = signature_header(BODY.encode(), [], int(time.time()), test_scheme=True)
    assert "v0=" in header
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(BODY, header, "fake", 300)
