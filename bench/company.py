"""A company to measure with: the twin of Stripe, a bucket and sources in a folder, and its settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fixtures.twin import Twin


@contextmanager
def company(folder: Path, *meters: str) -> Iterator[Twin]:
    """Set up a company with these meters and the customer `cus_1`; files lie in `folder`."""
    for name in ("bucket", "sources"):
        (folder / name).mkdir()
    with Twin(bucket=f"file://{folder / 'bucket'}", poll_seconds=1e9) as twin:
        for meter in meters:
            twin.add_meter(meter)
        twin.add_customers(["cus_1"])
        yield twin


def settings_of(folder: Path, stripe: str, **others: str) -> dict[str, str]:
    """Return its environment variables; `others` are what one measurement adds."""
    bases = ("STRIPE_API_BASE", "STRIPE_FILES_BASE", "STRIPE_METER_EVENTS_BASE")
    return dict.fromkeys(bases, stripe) | {
        "STRIPE_API_KEY": "sk_test_bench1",
        "ARCHIVE_URL": str(folder / "archive"),
        "SCRATCH_DIR": str(folder / "scratch"),
        "USAGE_SOURCES": str(folder / "sources"),
        "SUBMIT_TO": f"file://{folder / 'bucket'}",
        "SUBMIT_PACE_SECONDS": "0",
        **others,
    }
