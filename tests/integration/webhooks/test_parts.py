"""Parts in the browser. If these fail, two people upload one part, and a customer pays twice."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.integration.webhooks.conftest import MakeClient
from tests.integration.webhooks.test_console import token_of
from tests.integration.webhooks.test_users import As, ledger
from workers.kernel.ledger import Ledger, parts
from workers.kernel.ledger.acts import HAND_OUT, UPLOADED, Act, ActState

__all__ = ["ledger"]
PART = "metermend-case_1-1.csv"


@pytest.fixture
def as_(make_client: MakeClient, tmp_path: Path, ledger: Ledger) -> As:
    there = {"archive_url": str(tmp_path / "archive"), "submit_to": "dashboard"}
    return As(lambda **settings: make_client(**there, **settings))


@pytest.fixture
def taken(tmp_path: Path, ledger: Ledger) -> Act:
    """A part that otto has taken."""
    (tmp_path / "archive" / "case").mkdir(parents=True)
    (tmp_path / "archive" / "case" / "part-0.csv").write_text("identifier\nuse-1\n")
    asked = ledger.acts.show(ledger.acts.ask(HAND_OUT, None, {"account": None}, "otto", "Monday"), {}, "f")
    act = ledger.acts.approve(asked, "otto", 1)
    parts.take(ledger, None, act.id)
    held = {"records": 1, "customers": 1, "cases": ["case_1"], "quantities": {"tokens": "5"}, "summary": PART}
    return ledger.acts.end(act, ActState.DONE, {"part": PART, "file": ["case/part-0.csv", "0" * 64], **held})


def ask(client: FlaskClient, kind: str, why: str = "it is done", **fields: str) -> TestResponse:
    form = {"csrf_token": token_of(client.get("/console/").text), "kind": kind, "why": why, **fields}
    return client.post("/console/parts", data=form)


def test_a_part_is_downloaded_by_who_has_taken_it_and_only_until_it_is_told_of(
    as_: As, ledger: Ledger, taken: Act
) -> None:
    where = f"/console/files/acts/{taken.id}"
    assert where in as_("otto").get("/console/parts").text
    answer = as_("otto").get(where)
    assert (answer.text, answer.headers["Content-Disposition"]) == (
        "identifier\nuse-1\n", f'attachment; filename="{PART}"',
    )  # fmt: skip
    others = as_("ada").get("/console/parts").text
    assert "otto has <code>metermend-case_1-1.csv</code>" in others
    assert where not in others
    assert as_("ada").get(where).status_code == 403
    parts.let_go(ledger, None, taken.id)
    assert as_("otto").get(where).status_code == 403


def test_what_became_of_a_part_is_asked_for_and_shown_first(as_: As, ledger: Ledger, taken: Act) -> None:
    otto = as_("otto")
    assert ask(otto, UPLOADED, part=PART).status_code == 302
    (act,) = ledger.acts.all(states=[ActState.ASKED])
    assert (act.kind, act.state, act.actor) == (UPLOADED, ActState.ASKED, "otto")
    assert act.arguments == {"account": None, "part": PART}
    assert ask(otto, UPLOADED, why="", part=PART).headers["Location"] == "/console/parts?missing=why"
    assert ask(otto, "write_off").status_code == 404
    assert ask(as_("vera"), UPLOADED, part=PART).status_code == 403
    assert f'name="imported_as" value="{PART}"' in otto.get("/console/parts").text
    assert parts.out(ledger, None) == taken, "nothing is done before it is approved"
