"""A company's usage file, with what it knows of its account, for the tests of the offline commands."""

import json
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result

from workers.cli import main

NOW = "2026-11-21T12:00:00Z"
USAGE = """\
identifier,timestamp,event_name,payload_stripe_customer_id,payload_value
a1,1795262300,api_calls,cus_1,5
a2,1795262300000,api_calls,cus_1,"1,234,567"
a3,1795262300,api_calls,cus_1,"1,234"
a4,1795265900,api_calls,cus_1,2
"""
OUTCOMES = ("valid", "repaired", "deferred", "quarantined")
DOCUMENT = {
    "records",
    *OUTCOMES,
    "by_code",
    "quantity",
    "unreadable_quantity",
    "next_revisions",
    "not_checked",
    "files",
}
"""The keys of the document that `check --json` and `repair --json` promise to scripts."""
FAILED_RECORDS = """\
identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,error_code,error_message
a1,1795262300,api_calls, cus_1,5,meter_event_customer_not_found,No customer has this id
a2,1795262300,api_calls,cus_1,"1,234",meter_event_invalid_value,The value is no number
a3,1795262300,api_calls,cus_1,5,meter_event_customer_not_found,No customer has this id
"""
"""As Stripe gives it out for a file: the refused rows, with what was wrong."""


def company(folder: Path, usage: str = USAGE) -> Path:
    """Write usage.csv, meters.json, customers.txt and rules.toml; return the usage file."""
    (folder / "usage.csv").write_text(usage)
    (folder / "meters.json").write_text(json.dumps([{"event_name": "api_calls", "status": "active"}]))
    (folder / "customers.txt").write_text("cus_1\n")
    (folder / "rules.toml").write_text("[[values]]\ndecimal_comma = true\n")
    return folder / "usage.csv"


def run(*arguments: str | Path, width: int = 80) -> Result:
    """Run the command as `metermend` would, in a terminal of that width."""
    return CliRunner(env={"COLUMNS": str(width)}).invoke(main, [str(argument) for argument in arguments])


def told(usage: Path) -> Sequence[str | Path]:
    """Return the options that tell the command of the company."""
    folder = usage.parent
    return ["--meters", folder / "meters.json", "--customers", folder / "customers.txt", "--now", NOW]
