"""Every page with canned rows and no ledger. If these fail, a page crashes on what an unlucky case looks like."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol

import pytest
from flask import render_template
from jinja2 import StrictUndefined

import webhooks.console
from tests.builders import a_failure
from tests.recording import RecordingJobQueue
from webhooks.app import create_app
from webhooks.console.files import KeptFile
from webhooks.console.offers import OFFERS
from workers.kernel.advice import next_step, reasons_of
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.case_facts import CaseFacts
from workers.kernel.ledger.examples import Change, Examples, Sample
from workers.kernel.ledger.journal import Balance, Bucket, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.rules import MadeRule
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.kernel.settings import Settings
from workers.kernel.timeline import timeline

TEMPLATES = Path(webhooks.console.__file__).parent / "templates" / "console"
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
TALLY = Tally(1200, Decimal("4800.25"))

CASE = Case(
    id="case_0123456789abcdef",
    failure=a_failure(account="acct_1", window_start="2026-11-21T09:00:00Z", meter_id="mtr_1"),
    state=CaseState.NEEDS_PERSON,
    version=3,
    head="0" * 64,
    balance=Balance(TALLY, {Bucket.QUARANTINED: TALLY}),
    due_at=None,
    attempts=0,
    deaths=0,
    trouble=None,
    alerted=None,
    opened_at=AT,
    changed_at=AT,
)
ENTRY = EntryRow(
    number=1,
    kind="seen",
    from_bucket=None,
    to_bucket="pending",
    records=1200,
    quantity="4800.25",
    revision=1,
    record_set="case/1.parquet",
    record_set_sha256="0" * 64,
    submission_id="sub_1",
    event_id="evt_1",
    actor="anna",
    detail={"reason": {"deep": ["<b>"]}},
    at=AT,
)
BARE_ENTRY = replace(
    ENTRY, kind="sent", to_bucket=None, submission_id=None, event_id=None, record_set=None, detail={}, revision=0
)
SUBMISSION = Submission(
    id="sub_1",
    case_id=CASE.id,
    revision=1,
    target="s3",
    location="s3://bucket/folder/1.csv",
    state=SubmissionState.SENT,
    records=1200,
    quantity=Decimal("4800.25"),
    event_names=("api_calls",),
    record_set="case/1.parquet",
    record_set_sha256="0" * 64,
    import_set_id=None,
    verdict=None,
    intended_at=AT,
    sent_at=AT,
    confirm_at=AT,
)
HOSTILE = "<script>\u202e" + "9" * 300
EXAMPLES = Examples(
    [
        Sample("value_not_found", 0, HOSTILE, HOSTILE, 7, HOSTILE, {"timestamp": HOSTILE, "payload_value": None}),
        Sample("malformed_record", 1, None, None, None, None, {}),
    ],
    [Change("value_not_found", 0, None, HOSTILE, None, HOSTILE, "value_not_found.value_rule")] * 20,
)
RULE = MadeRule("rule_1", "customer", HOSTILE, HOSTILE, "act_1", HOSTILE, HOSTILE, AT)
ABOUT: dict[str, Any] = {
    "case": CASE,
    "advice": next_step(CASE),
    "unconfirmed": 0,
    "reasons": reasons_of([ENTRY]),
    "entries": [ENTRY],
    "submissions": [SUBMISSION],
    "acts": [],
    "missing": None,
    "may_ask": True,
    "opened": None,
    "commands": [("metermend retry case_0123456789abcdef", "after the cause was mended")],
    "examples": EXAMPLES,
    "timeline": list(timeline([ENTRY])),
    "rules": [RULE],
    "events": ["evt_1"],
    "evidence": [KeptFile("cases/case_1/failed_records-0123456789abcdef.csv", "0" * 64)],
    "offers": OFFERS,
    "has_rows": True,
}
OF_TWO_METERS = replace(
    CASE,
    deadline=AT,
    meters=CaseFacts({"tokens": CASE.balance.buckets, "minutes": {}, "": CASE.balance.buckets}, {}, 1).columns()[
        "meters"
    ],
)
EFFECT: dict[str, Any] = {
    "summary": "3 records of case_0123456789abcdef are written off: nobody will be billed for them",
    "records": 30,
    "quantities": {"api_requests": "6"},
    "cases": {"case_0123456789abcdef": 3},
    "warnings": ["2 of them are only counted"],
    "examples": [
        {
            "record": 1,
            "identifier": name,
            "before": {"timestamp": "1", "payload_value": text},
            "after": {"": "gone"},
            "note": note,
        }
        for name, text, note in (("use-1", "<b>" + "9" * 300, ""), (None, None, "by hand"))
    ],
}
ACT = Act(
    id="act_1",
    kind="write_off",
    subject="case_0123456789abcdef",
    arguments={},
    actor="console",
    why="<i>agreed</i>",
    state=ActState.SHOWN,
    asked_at=AT,
    effect=EFFECT,
    fingerprint="0" * 64,
    approvals=(),
    ended_at=None,
    outcome=None,
)
SHOWN: dict[str, Any] = {
    "titles": {},
    "act": ACT,
    "needed": 1,
    "waits": False,
    "fault": None,
    "may_approve": True,
    "may_ask": True,
    "is_csv": False,
    "is_of_part": False,
}
UNLUCKY = replace(CASE, trouble="Stripe answered 503", due_at=AT, failure=replace(CASE.failure, code=None))

STORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a case": ("case.html", ABOUT),
    "a new case": (
        "case.html",
        ABOUT
        | dict.fromkeys(("entries", "submissions", "timeline", "events", "evidence", "commands", "rules"), ())
        | {"examples": Examples(), "offers": {}, "has_rows": False},
    ),
    "a case for whoever may only read": ("case.html", ABOUT | {"may_ask": False}),
    "a case with a long journal": (
        "case.html",
        ABOUT | {"entries": [ENTRY] * 201, "timeline": list(timeline([ENTRY] * 201))},
    ),
    "a case that was decided about": (
        "case.html",
        ABOUT | {"acts": [ACT], "opened": "write_off", "missing": "why"},
    ),
    "an act that is asked for": (
        "act.html",
        SHOWN | {"act": replace(ACT, state=ActState.ASKED, effect=None), "waits": True},
    ),
    "an act to approve": ("act.html", SHOWN | {"fault": "It has been looked at anew."}),
    "an act that waits for another": (
        "act.html",
        SHOWN | {"act": replace(ACT, approvals=({"name": "Ada", "at": "2026-11-21T09:30:00Z"},)), "needed": 2},
    ),
    "an act that is done": (
        "act.html",
        SHOWN | {"act": replace(ACT, state=ActState.DONE, ended_at=AT, outcome={"records": 30})},
    ),
    "an act that was refused": (
        "act.html",
        SHOWN | {"act": replace(ACT, state=ActState.REFUSED, subject=None, outcome={"error": "it has changed"})},
    ),
    "an act that is carried out": (
        "act.html",
        SHOWN | {"act": replace(ACT, state=ActState.APPROVED), "waits": True},
    ),
    "an act that was taken back": (
        "act.html",
        SHOWN
        | {"act": replace(ACT, state=ActState.TAKEN_BACK, outcome={"taken_back": {"records": 3}, "by": "Ada"})},
    ),
    "an act that was withdrawn": (
        "act.html",
        SHOWN | {"act": replace(ACT, state=ActState.WITHDRAWN, outcome={"by": "Ada"})},
    ),
    "a file that is written": (
        "act.html",
        SHOWN
        | {"act": replace(ACT, kind="write_csv", state=ActState.ASKED, effect=None), "waits": True, "is_csv": True},
    ),
    "a file to download": (
        "act.html",
        SHOWN
        | {
            "act": replace(
                ACT,
                kind="write_csv",
                state=ActState.DONE,
                effect=None,
                outcome={"file": ["a", "b"], "summary": HOSTILE},
            ),
            "is_csv": True,
        },
    ),
    "an act for whoever may only read": ("act.html", SHOWN | {"may_ask": False, "may_approve": False}),
    "what takes an act back": (
        "act.html",
        SHOWN
        | {"act": replace(ACT, kind="take_back", arguments={"act_id": "act_0"}, state=ActState.DONE, outcome={})},
    ),
    "acts": ("acts.html", {"acts": [ACT], "open_acts": [ACT]}),
    "no acts": ("acts.html", {"acts": [], "open_acts": []}),
    "a case in trouble": ("case.html", ABOUT | {"case": UNLUCKY, "entries": [ENTRY, BARE_ENTRY]}),
    "a case of several meters": ("case.html", ABOUT | {"case": OF_TWO_METERS}),
    "a submission with its verdict": (
        "case.html",
        ABOUT | {"submissions": [replace(SUBMISSION, verdict="succeeded_with_errors", location=None)]},
    ),
    "the login": ("login.html", {"fault": None, "secure": False, "company": None}),
    "a wrong password, over plain HTTP": (
        "login.html",
        {"fault": "That is not the password of that name.", "secure": True, "company": None},
    ),
    "the login, by the company's account as well": (
        "login.html",
        {"fault": None, "secure": True, "company": "/console/login/oidc?then=/console/"},
    ),
    "an error": ("error.html", {"title": "Not found", "advice": "There is nothing."}),
}
PARTS = {"base.html", "parts.html", "charts.html", "decide.html"}
TOLD_BY_ROWS = {
    "overview.html", "cases.html", "incidents.html", "incident.html", "quarantine.html", "events.html",
    "event.html", "rules.html", "audit.html", "part_list.html",
}  # fmt: skip
"""Their tests, in `pages`, write rows into a ledger and look at the page."""
VOID = {"meta", "link", "input", "rect", "br", "wbr", "img"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed but was not opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


class Render(Protocol):
    def __call__(self, template: str, context: dict[str, Any]) -> str: ...


@pytest.fixture
def render(tmp_path: Path) -> Render:
    values: dict[str, Any] = {
        "stripe_webhook_secrets": "whsec_made_up",
        "console_password_hash": "pbkdf2:sha256:1$salt$0f",
        "database_url": f"sqlite:///{tmp_path / 'unused.db'}",
        "_env_file": None,
    }
    app = create_app(Settings(**values), queue=RecordingJobQueue())
    app.jinja_env.undefined = StrictUndefined

    def render(template: str, context: dict[str, Any]) -> str:
        with app.test_request_context("/console/"):
            return render_template(f"console/{template}", **context)

    return render


@pytest.mark.parametrize("story", STORIES)
def test_every_page_can_be_drawn(render: Render, story: str) -> None:
    template, context = STORIES[story]
    page = render(template, context)
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert "None" not in page
    assert 'style="' not in page
    assert page.count("<script") == page.count('<script src="/console/static/console.js" defer></script>') == 1


def test_every_template_has_a_story() -> None:
    told = {template for template, _ in STORIES.values()}
    assert {path.name for path in TEMPLATES.glob("*.html")} - PARTS - TOLD_BY_ROWS == told
