"""Who has decided what, and why: all acts, of the console and of the terminal."""

from typing import Final

from flask import render_template

from webhooks.console import address
from webhooks.console.address import PAGE_LENGTH, the_ledger
from workers.kernel.ledger.acts import ActFilter, ActState

KINDS: Final = (
    "make_rule", "revert_rule", "fix", "fix_by_file", "set_value", "retry", "release", "corrected", "write_off",
    "take_back", "write_csv", "forget", "hand_out", "uploaded", "not_uploaded",
)  # fmt: skip


def audit() -> str:
    """List acts, the latest first."""
    wanted = ActFilter(address.text("actor"), address.text("kind"), address.choice("state", ActState))
    found = the_ledger().acts.page(wanted, PAGE_LENGTH, address.place())
    return render_template(
        "console/audit.html",
        acts=found.rows,
        earlier=address.earlier(found.after),
        wanted=wanted,
        chosen=address.chosen("actor", "kind", "state"),
        kinds=KINDS,
        states=list(ActState),
    )
