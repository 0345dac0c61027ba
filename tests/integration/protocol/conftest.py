"""The loop of the pipeline's tests, with the twin as Stripe."""

from tests.integration.pipeline.conftest import loop

__all__ = ["loop"]
