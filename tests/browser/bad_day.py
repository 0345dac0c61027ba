"""A ledger after a bad day, for looking at the pages: every state of a case, of an event and of an act, and hostile
texts in all that others write."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from werkzeug.security import generate_password_hash

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger, parts
from workers.kernel.ledger.acts import HAND_OUT, UPLOADED, Act, ActState
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case import VALIDATION_REPORT, Case
from workers.kernel.ledger.case_facts import CaseFacts, NameKind
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, RecordSetRef, Tally
from workers.kernel.ledger.standings import Cause, Standing
from workers.kernel.ledger.submissions import Intent
from workers.kernel.ledger.users import Role

PASSWORD = "correct horse"
LONG = "customer_of_a_company_with_an_endless_name_" * 6
HOSTILE_CASE = a_failure("report:61").case_id
HOSTILE = "<script>alert(1)</script>\u202egnp.exe " + "x" * 300
LEASE = timedelta(minutes=5)
CODES = (
    "meter_event_customer_not_found",
    "meter_event_invalid_value",
    "timestamp_too_far_in_past",
    "meter_event_no_customer_defined",
    "a_code_that_nobody_has_seen_before",
)
MANY: Final = 18
"""Cases and events: three of each way that a case may go, and more than one page of `PAGE_LENGTH`."""
PAGE_LENGTH: Final = 15
STEPS: Mapping[str, tuple[EntryKind, ...]] = {
    "open": (),
    "planned": (EntryKind.PLANNED,),
    "deferred": (EntryKind.DEFERRED,),
    "quarantined": (EntryKind.QUARANTINED,),
    "written off": (EntryKind.QUARANTINED, EntryKind.WRITTEN_OFF),
    "corrected": (EntryKind.QUARANTINED, EntryKind.CORRECTED),
}


def fill(ledger: Ledger, clock: FrozenClock) -> None:
    """Write the day down, from its first event to the last decision."""
    ledger.users.add("ada", Role.APPROVER, generate_password_hash(PASSWORD, method="pbkdf2:sha256:1"))
    clock.turn(days=-6)
    for number in range(MANY):
        clock.turn(hours=6)
        _case(ledger, clock, number, list(STEPS)[number % len(STEPS)])
    _sent(ledger, clock)
    _hostile(ledger, clock)
    _events(ledger)
    _acts(ledger)
    _parts(ledger)
    for sign in (Sign.WORKER, Sign.CLOCK, Sign.WEBHOOK):
        ledger.heartbeats.beat(sign)


def _case(ledger: Ledger, clock: FrozenClock, number: int, how: str, **about: Any) -> Case:
    code, meter = CODES[number % len(CODES)], ("api_requests", "tokens", "minutes")[number % 3]
    failure = a_failure(
        f"report:{number}",
        **{
            "kind": VALIDATION_REPORT, "code": code, "event_name": meter, "meter_id": f"mtr_{meter}",
            "import_set_id": None, "window_start": "2026-11-21T08:00:00Z", "window_end": "2026-11-21T08:10:00Z",
            **about,
        },
    )  # fmt: skip
    case = open_case(ledger, failure)
    records, quantity = 3 + 977 * number, str(Decimal("12.5") * (number + 1))
    with ledger.cases.hold(case.id, "test", LEASE) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, records, quantity, event_id=f"evt_{number}"))
        for kind in STEPS[how]:
            detail = {"reasons": {code: records - 1, "not_sampled": 1}} if kind == EntryKind.QUARANTINED else {}
            draft.move(a_movement(kind, records, quantity, detail=detail, actor="ada"))
        facts = _facts(failure.event_name or "", draft.balance.buckets)
        draft.know(facts, Appraisal(records, clock() + timedelta(days=20)))
        draft.reschedule(None, trouble=HOSTILE if how == "open" else None)
    found = ledger.cases.get(case.id)
    assert found is not None
    ledger.incidents.note(found, f"{code} on mtr_{meter}", {"records": records}, timedelta(hours=1))
    return found


def _facts(meter: str, buckets: Mapping[Bucket, Tally]) -> CaseFacts:
    names = {NameKind.CUSTOMER: ["acme", LONG, HOSTILE[:90]], NameKind.FILE: ["usage.csv"], NameKind.METER: [meter]}
    causes = [
        Cause(code, code, meter[:100], name) for code, name in zip(CODES, ("acme", LONG[:90], ""), strict=False)
    ]
    waits = buckets.get(Bucket.QUARANTINED, Tally())
    standings = [Standing(Bucket.QUARANTINED, cause, waits) for cause in causes if waits.records]
    return CaseFacts({meter: buckets}, names, 1, standings)


def _sent(ledger: Ledger, clock: FrozenClock) -> None:
    """A case of which some was sent: a part is confirmed, a part is awaited."""
    case = _case(ledger, clock, 60, "planned")
    ref = RecordSetRef("case/sent.parquet", "0" * 64)
    intent = Intent(f"{case.id}-1", 1, "s3", 40, Decimal(80), ("api_requests",), ref)
    with ledger.cases.hold(case.id, "test", LEASE) as held, held.transaction() as draft:
        draft.submissions.intend(intent, ledger.submissions.last_turn(None))
        draft.move(a_movement(EntryKind.INTENDED, 40, "80", submission_id=intent.id, record_set=ref))
        draft.move(Movement(EntryKind.SENT, None, None, 40, Decimal(80), submission_id=intent.id))
        draft.submissions.sent(intent.id, f"s3://bucket/{LONG}/1.csv", clock() + timedelta(hours=1))
        draft.move(a_movement(EntryKind.CONFIRMED, 30, "60", submission_id=intent.id))


def _hostile(ledger: Ledger, clock: FrozenClock) -> None:
    """A case whose every name was written by somebody who means no good."""
    about = {"event_name": HOSTILE, "code": "c" * 120, "account": f"acct_{'a' * 120}", "window_start": LONG}
    _case(ledger, clock, 61, "quarantined", **about)


def _events(ledger: Ledger) -> None:
    for number in range(MANY):
        event_id = f"evt_{number}"
        raw = b'{"id": "%s", "long": "%s"}' % (event_id.encode(), b"y" * 400)
        kind = "v1.billing.meter.error_report_triggered"
        ledger.events.record(NewEvent(event_id, "thin", kind, livemode=False, raw=raw))
        if number % 4:
            ledger.events.claim(event_id, "test", LEASE)
            state = (EventState.DONE, EventState.FAILED, EventState.IGNORED)[number % 3]
            ledger.events.finish(event_id, "test", state, None if number % 3 == 0 else HOSTILE)


def _acts(ledger: Ledger) -> None:
    case_id = a_failure("report:3").case_id
    shown = [_shown(ledger, case_id, why) for why in ("agreed with them", HOSTILE, "too old", "no", "again")]
    ledger.acts.approve(shown[1], "bob", needed=2)
    done = ledger.acts.end(ledger.acts.approve(shown[2], "bob", needed=1), ActState.DONE, {"records": 12})
    ledger.rules.make(done, "customer", "acme", "cus_1")
    ledger.rules.make(shown[3], "customer", HOSTILE[:90], LONG[:90])
    ledger.acts.end(shown[3], ActState.REFUSED, {"error": HOSTILE})
    ledger.acts.end(shown[4], ActState.WITHDRAWN, {"by": "ada"})
    ledger.acts.ask("retry", None, {"cases": [case_id]}, "ada", "mended")


def _parts(ledger: Ledger) -> None:
    """Somebody has uploaded a part and has the next one in his hands; a worker makes one for an account."""
    part = {"file": ["case/part.csv", "0" * 64], "records": 40_112, "customers": 318, "cases": ["case_1", "case_2"]}
    for name, account in (("metermend-case_1-1.csv", None), (f"metermend-{LONG[:80]}-2.csv", None), ("", "acct_1")):
        taken = _approved(ledger, HAND_OUT, {"account": account}, "the day's part")
        parts.take(ledger, account, taken.id)
        if name:
            outcome = {**part, "part": name, "quantities": {"api_requests": "80.5", HOSTILE: "1"}, "summary": name}
            ledger.acts.end(taken, ActState.DONE, outcome)
        if name.endswith("-1.csv"):
            told = _approved(ledger, UPLOADED, {"part": name, "account": account}, HOSTILE)
            ledger.acts.end(told, ActState.DONE, {"part": name, "records": 40_112})
            parts.let_go(ledger, account, taken.id)


def _approved(ledger: Ledger, kind: str, arguments: Mapping[str, Any], why: str) -> Act:
    effect = {"records": 0, "quantities": {}, "cases": {}, "examples": [], "warnings": [HOSTILE]}
    asked = ledger.acts.ask(kind, None, arguments, "ada", why)
    shown = ledger.acts.show(asked, {**effect, "summary": kind.replace("_", " ")}, "f" * 64)
    return ledger.acts.approve(shown, "ada", needed=1)


def _shown(ledger: Ledger, case_id: str, why: str) -> Act:
    example = {
        "record": 1, "identifier": LONG, "note": "by hand",
        "before": {"payload_stripe_customer_id": "acme", "payload_value": HOSTILE}, "after": {"": "written off"},
    }  # fmt: skip
    effect = {
        "summary": f"12 records of {case_id} are written off: nobody will be billed for them",
        "records": 12, "quantities": {"api_requests": "4800.25", LONG: "1"}, "cases": {case_id: 12},
        "examples": [example, {**example, "identifier": None}], "warnings": ["2 of them are only counted"],
    }  # fmt: skip
    act = ledger.acts.ask("write_off", case_id, {"case_id": case_id}, "ada", why)
    return ledger.acts.show(act, effect, "f" * 64)
