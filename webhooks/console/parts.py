"""Parts for Stripe's Dashboard: what waits, who has one, and what became of those before."""

from dataclasses import dataclass
from typing import Final

from flask import abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console.acts import asked, field_of
from webhooks.console.address import the_ledger
from webhooks.console.session import require_role
from workers.kernel.ledger import parts
from workers.kernel.ledger.acts import HAND_OUT, OF_PARTS, Act
from workers.kernel.ledger.users import Role
from workers.kernel.places import uploading_by_hand

_SHOWN: Final = 50


@dataclass(frozen=True)
class Hands:
    """What of an account waits to be uploaded, and by which act somebody has a part of it."""

    account: str | None
    cases: int
    records: int
    taken: Act | None


def part_list() -> str:
    """Show who has which part, what waits for the next one, and the last that were handed out."""
    ledger = the_ledger()
    hands = [
        Hands(account, *parts.waiting(ledger, account), parts.out(ledger, account))
        for account in uploading_by_hand(current_app.extensions["settings"].target_places)
    ]
    return render_template(
        "console/part_list.html",
        hands=hands,
        handed_out=parts.handed_out(ledger, _SHOWN),
        may_ask=current_user.role.may(Role.OPERATOR),
        missing=request.args.get("missing"),
    )


def ask_of_part() -> ResponseReturnValue:
    """Ask for the next part, or say what became of one: what that changes is shown first."""
    require_role(Role.OPERATOR)
    kind = field_of("kind")
    if kind not in OF_PARTS:
        abort(404)
    if not field_of("why"):
        return redirect(url_for("pages.part_list", missing="why"))
    part = {} if kind == HAND_OUT else {"part": field_of("part")}
    return asked(kind, None, {"account": field_of("account") or None, **part})
