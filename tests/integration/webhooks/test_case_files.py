"""Files of a case on its page. If these fail, somebody reads what is not his, or whoever must mend cannot."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.builders import a_failure, a_movement, open_case
from tests.integration.webhooks.conftest import MakeClient
from tests.integration.webhooks.test_console import token_of
from tests.integration.webhooks.test_users import As, ledger
from webhooks.console import files
from workers.archive import Archive
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.journal import EntryKind, RecordSetRef
from workers.kernel.storage import open_store

__all__ = ["ledger"]
ROW = "identifier,error\r\nuse-1,=1+1\r\n"


@pytest.fixture
def archive_url(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


@pytest.fixture
def as_(make_client: MakeClient, archive_url: str, ledger: Ledger) -> As:
    return As(lambda **settings: make_client(archive_url=archive_url, **settings))


@pytest.fixture
def kept(tmp_path: Path, archive_url: str, ledger: Ledger) -> RecordSetRef:
    """A failed-records file that a case's journal names."""
    case = open_case(ledger, a_failure("import_set:impset_1"))
    (tmp_path / "failed.csv").write_bytes(ROW.encode())
    ref = Archive(open_store(archive_url), tmp_path / "scratch").keep(
        case.id, "failed_records", tmp_path / "failed.csv"
    )
    with ledger.cases.hold(case.id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 2, "3", event_id="evt_1"))
        draft.move(a_movement(EntryKind.QUARANTINED, 2, "3", detail={"reasons": {"value_not_found": 2}}))
        draft.show([ref])
    return ref


def case_of(ref: RecordSetRef) -> str:
    return ref.name.split("/")[1]


def upload(client: FlaskClient, case_id: str, data: bytes, name: str = "edited.csv", why: str = "a slip") -> int:
    token = token_of(client.get("/console/").text)
    form = {"csrf_token": token, "why": why, "file": (io.BytesIO(data), name)}
    return client.post(f"/console/acts/file/{case_id}", data=form, content_type="multipart/form-data").status_code


def test_a_file_that_shows_a_refusal_comes_as_it_was_kept_and_is_never_shown(as_: As, kept: RecordSetRef) -> None:
    client = as_("otto")
    where = f"/console/files/cases/{case_of(kept)}/{kept.sha256}"
    assert where in client.get(f"/console/cases/{case_of(kept)}").text
    answer = client.get(where)
    assert answer.text == ROW
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="failed_records-')
    assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == ("nosniff", "no-store")
    assert answer.content_length == len(ROW)


def test_whoever_may_only_read_sees_no_whole_records(as_: As, kept: RecordSetRef) -> None:
    client = as_("vera")
    assert "/console/files/cases/" not in client.get(f"/console/cases/{case_of(kept)}").text
    assert client.get(f"/console/files/cases/{case_of(kept)}/{kept.sha256}").status_code == 403
    assert upload(client, case_of(kept), b"x") == 403


def test_no_address_leads_to_what_is_not_the_cases(as_: As, kept: RecordSetRef, ledger: Ledger) -> None:
    client = as_("otto")
    other = open_case(ledger, a_failure("import_set:impset_2")).id
    for path in (
        f"cases/{other}/{kept.sha256}", f"cases/{case_of(kept)}/{'0' * 64}", f"cases/{case_of(kept)}/..%2f..%2fx",
        "acts/act_none", "events/evt_none",
    ):  # fmt: skip
        assert client.get(f"/console/files/{path}").status_code == 404
    asked = ledger.acts.ask("write_off", other, {}, "otto", "agreed")
    assert client.get(f"/console/files/acts/{asked.id}").status_code == 404


def test_a_file_that_is_gone_gets_a_page_that_says_so(as_: As, kept: RecordSetRef, archive_url: str) -> None:
    (Path(archive_url) / kept.name).unlink()
    answer = as_("otto").get(f"/console/files/cases/{case_of(kept)}/{kept.sha256}")
    assert (answer.status_code, "ARCHIVE_URL" in answer.text) == (503, True)


def test_an_edited_csv_is_kept_under_a_name_of_ours_and_waits_for_a_worker(
    as_: As, kept: RecordSetRef, archive_url: str, ledger: Ledger
) -> None:
    assert upload(as_("otto"), case_of(kept), ROW.encode(), name="../../evil.sh") == 302
    [act] = ledger.acts.all()
    name, digest = act.arguments["file"]
    assert (act.kind, act.state, name) == (
        "fix_by_file", ActState.ASKED, f"cases/{case_of(kept)}/edited-{digest[:16]}.csv",
    )  # fmt: skip
    assert (Path(archive_url) / name).read_bytes() == ROW.encode()


def test_a_file_that_is_too_large_is_refused_with_what_to_do_instead(
    as_: As, kept: RecordSetRef, ledger: Ledger, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST_UPLOAD", 40_000)
    otto, large = as_("otto", webhook_max_body=4096), b"x" * 20_000
    assert upload(otto, case_of(kept), large) == 302
    token = token_of(otto.get("/console/").text)
    form = {"csrf_token": token, "why": "y", "file": (io.BytesIO(large * 3), "edited.csv")}
    answer = otto.post(f"/console/acts/file/{case_of(kept)}", data=form, content_type="multipart/form-data")
    assert (answer.status_code, "metermend fix CASE --file" in answer.text) == (413, True)
    stranger = make_client(webhook_max_body=4096)
    stranger.get("/console/login")
    form = {"csrf_token": token, "why": "y", "file": (io.BytesIO(large), "edited.csv")}
    where = f"/console/acts/file/{case_of(kept)}"
    assert stranger.post(where, data=form, content_type="multipart/form-data").status_code == 413
    assert len(ledger.acts.all()) == 1


def test_a_csv_that_a_worker_has_written_is_handed_out(as_: As, kept: RecordSetRef, ledger: Ledger) -> None:
    client = as_("otto")
    token = token_of(client.get("/console/").text)
    where = client.post(f"/console/acts/csv/{case_of(kept)}", data={"csrf_token": token}).headers["Location"]
    assert "data-waits" in client.get(where).text
    [act] = ledger.acts.all()
    outcome = {"file": [kept.name, kept.sha256], "records": 2, "summary": "2 records as CSV"}
    ledger.acts.end(act, ActState.DONE, outcome)
    page = client.get(where).text
    assert (f"/console/files/acts/{act.id}" in page, "Take it back" in page) == (True, False)
    assert client.get(f"/console/files/acts/{act.id}").text == ROW


@pytest.mark.parametrize(
    ("name", "label"),
    [("failed-records-0123456789abcdef", "failed-records"), ("usage-7-0123456789abcdef.csv.gz", "usage-7.csv.gz")],
)
def test_a_file_is_called_as_it_was_without_its_digest(name: str, label: str) -> None:
    assert files.KeptFile(f"cases/case_1/{name}", "0" * 64).label == label
