"""The rules that people have made: who, when and why, until when, and what rules.toml says otherwise."""

from typing import Final

from flask import render_template
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console.address import the_ledger
from workers.kernel.ledger.rules import FILE_SAYS
from workers.kernel.ledger.users import Role

_SHOWN: Final = 100
"""Rules of each sort, the latest ones."""


def rule_list() -> str:
    """List the rules in force, the latest first, then those that hold no longer."""
    ledger = the_ledger()
    in_force = list(reversed(ledger.rules.in_force()))
    holding = {rule.id for rule in in_force}
    ended = [rule for rule in reversed(ledger.rules.history()) if rule.id not in holding]
    return render_template(
        "console/rules.html",
        in_force=in_force[:_SHOWN],
        ended=ended[:_SHOWN],
        more=max(len(in_force) - _SHOWN, 0) + max(len(ended) - _SHOWN, 0),
        file_says=ledger.checkpoints.get(FILE_SAYS) or {},
        may_revert=current_user.role.may(Role.OPERATOR),
    )
