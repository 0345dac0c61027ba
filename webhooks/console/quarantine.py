"""What waits for a person, grouped by its cause: as many rows as there are causes, whatever the records."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from shlex import quote
from typing import Final

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console import address
from webhooks.console.acts import asked, field_of
from webhooks.console.address import PAGE_LENGTH, the_ledger
from webhooks.console.session import require_role
from workers.kernel.advice import KNOWN, MAPPED
from workers.kernel.case_title import title
from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.ledger.case import VALIDATION_REPORT, Failure
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.standings import CauseFilter, Group
from workers.kernel.ledger.users import Role
from workers.kernel.reasons import NOT_IN_SOURCES, NOT_SAMPLED, REASONS, UNCERTAIN, Reason

FILTERS: Final = tuple(field.name for field in fields(CauseFilter))
_MOST_PAGES: Final = 1_000
_MOST_CASES: Final = 500
"""Cases that are taken up at once; those that are left are there to be asked for again."""
_LONGEST: Final = 500
_WITHOUT_ROWS: Final = (NOT_SAMPLED, NOT_IN_SOURCES)
"""Reasons of records that are only counted: nobody has a row of theirs to edit."""
_OF_THE_RECORD: Final = Reason(
    "Stripe's code says it, and nothing could be repaired without guessing.",
    "Each record says what would help: look into the largest of its cases.",
)


@dataclass(frozen=True)
class Waiting:
    """A cause, and what to say of it.

    `command` is the rule that mends all of it, for a terminal. `forms` are those of a case's page, by the names of
    their acts, that decide about such records.
    """

    group: Group
    title: str
    reason: Reason
    command: str | None
    forms: tuple[str, ...]


def quarantine() -> str:
    """List the causes, those of the most records first."""
    standings, page = the_ledger().standings, _page()
    wanted = CauseFilter(**{name: address.text(name) for name in FILTERS})
    groups = standings.groups(wanted, PAGE_LENGTH + 1, (page - 1) * PAGE_LENGTH)
    causes, records = standings.count(wanted)
    chosen = address.chosen(*FILTERS)
    return render_template(
        "console/quarantine.html",
        waiting=[waiting_of(group) for group in groups[:PAGE_LENGTH]],
        causes=causes,
        records=records,
        ungrouped=0 if chosen else _quarantined() - records,
        asked={name: address.text(name) or "" for name in FILTERS},
        chosen=chosen,
        may_ask=current_user.role.may(Role.OPERATOR),
        codes=(*Code, MALFORMED_RECORD),
        reasons=list(REASONS),
        earlier=address.here_with("page", page + 1) if len(groups) > PAGE_LENGTH else "",
        later=address.here_with("page", page - 1) if page > 1 else "",
    )


def plan_anew() -> ResponseReturnValue:
    """Ask that all records of a code, a reason and a meter are planned anew, in whatever case they are.

    A worker shows which ones first; what may be billed already is left alone.
    """
    require_role(Role.OPERATOR)
    meant = {name: value for name in ("code", "reason", "meter") if (value := field_of(name))}
    case_ids = the_ledger().standings.case_ids(CauseFilter(**meant), _MOST_CASES)
    why = field_of("why")[:_LONGEST]
    if not why or not case_ids:
        return redirect(url_for("pages.quarantine"))
    return asked("retry", None, {"cases": list(case_ids), "events": [], "chosen": meant}, why)


def waiting_of(group: Group) -> Waiting:
    """Say of a cause what has happened, why, and what to do."""
    cause = group.cause
    failure = Failure("", VALIDATION_REPORT, False, "", code=cause.code or "no known code", event_name=cause.meter)
    known = KNOWN.get(cause.reason, _OF_THE_RECORD)
    called = title(failure, group.tally.records, group.oldest, address.now())
    return Waiting(group, called, known, _command(group), tuple(_forms(group)))


def _command(group: Group) -> str | None:
    rule = MAPPED.get(group.cause.code)
    if rule is None:
        return None
    named = {"OLD": group.cause.meter if "meter" in rule else group.cause.customer, "METER": group.cause.meter}
    words = (quote(named[word]) if named.get(word) else word for word in rule.split())
    return f"metermend {' '.join(words)} --reason WHY"


def _forms(group: Group) -> Iterator[str]:
    rule = MAPPED.get(group.cause.code, "")
    if group.cause.reason in UNCERTAIN:
        yield "release"
    else:
        if rule:
            yield "_".join(rule.replace("-", "_").split()[:2])
        if group.cause.reason not in _WITHOUT_ROWS:
            yield "fix_by_file"
        yield "retry"
    yield from ("corrected", "write_off")


def _quarantined() -> int:
    return the_ledger().totals.of_all().balance[Bucket.QUARANTINED].records


def _page() -> int:
    asked = request.args.get("page", "")
    return min(max(int(asked), 1), _MOST_PAGES) if asked.isdecimal() and len(asked) < len(str(10**9)) else 1
