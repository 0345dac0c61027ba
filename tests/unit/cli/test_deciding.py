"""If these fail, what somebody only wanted to look at is done, or what he agreed to is another thing by then."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import click
import pytest
from click.testing import Result

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from tests.unit.cli.usage import run
from tests.unit.test_rules_while_running import METER
from workers import bootstrap
from workers.cli import decide
from workers.kernel.codes import Code
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.case import VALIDATION_REPORT
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.reasons import PERHAPS_SENT_BEFORE
from workers.kernel.settings import Settings

NO_METER = b'{"id":"evt_1","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","livemode":false}'
WHY = ("--reason", "they merged", "--as", "ada")


@pytest.fixture
def book(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Book:
    """A case: two records wait for a customer that Stripe does not know, and one since it may be billed already.

    The commands find it by their settings; they ask a recorded Stripe, which knows the customer cus_9.
    """
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", str(sqlite_ledger.database.engine.url))
    monkeypatch.setenv("ARCHIVE_URL", str(tmp_path / "archive"))
    monkeypatch.setenv("SCRATCH_DIR", str(tmp_path / "scratch"))
    stripe = RecordingStripeApi(meters=[METER], customers=[{"id": "cus_9"}])
    book = Book(
        a_context(sqlite_ledger, tmp_path, clock, stripe=stripe),
        kind=VALIDATION_REPORT,
        code=str(Code.CUSTOMER_NOT_FOUND),
    )
    book.move(EntryKind.QUARANTINED, [0, 1], reason=str(Code.CUSTOMER_NOT_FOUND))
    book.move(EntryKind.QUARANTINED, [2], reason=PERHAPS_SENT_BEFORE)
    monkeypatch.setattr(bootstrap, "context", lambda: book.context)
    return book


def edited(book: Book, path: Path) -> Path:
    """The quarantine of a case as somebody has edited it: the first record is of cus_9."""
    assert run("quarantine", book.case_id, "-o", path).exit_code == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["payload_stripe_customer_id"] = "cus_9"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def arguments(command: str, book: Book, folder: Path) -> list[str | Path]:
    """A command that has an effect on the case: `map` mends two records, the others one."""
    if command == "map":
        return ["map", "customer", "cus_1", "cus_9"]
    if command == "fix":
        return ["fix", book.case_id, "--file", edited(book, folder / "edit.csv")]
    if command == "set":
        return ["set", book.case_id, "r0", "payload_stripe_customer_id", "cus_9"]
    return ["release", book.case_id]


def refused(result: Result) -> str:
    """What a command says that cannot be: one line, below click's usage where it is a slip, and exit code 2."""
    *usage, line = result.stderr.splitlines()
    assert result.exit_code == 2, result.output
    assert usage == [] or usage[0].startswith("Usage: ")
    assert "Traceback" not in result.output
    return line


COMMANDS = pytest.mark.parametrize("command", ["map", "fix", "set", "release"])


@COMMANDS
def test_without_a_yes_the_effect_is_shown_and_nothing_is_done(book: Book, tmp_path: Path, command: str) -> None:
    result = run(*arguments(command, book, tmp_path), *WHY, width=200)
    assert "nothing was done" in refused(result)
    assert "2 waiting records" in result.stdout if command == "map" else "1 record" in result.stdout
    assert "cus_9" in result.stdout or command == "release"
    assert book.balance(Bucket.QUARANTINED) == 3
    assert [act.state for act in book.context.ledger.acts.all()] == [ActState.WITHDRAWN]
    assert book.context.ledger.rules.in_force() == []


def test_what_is_broken_off_at_the_question_is_left_for_nobody_to_approve(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He pressed Ctrl-C for what he saw was wrong; open, it would be done at another's first click."""

    def broken_off(_: str) -> bool:
        raise click.Abort

    monkeypatch.setattr(decide, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(click, "confirm", broken_off)
    assert "Aborted" in run(*arguments("map", book, tmp_path), *WHY).stderr
    assert [act.state for act in book.context.ledger.acts.all()] == [ActState.WITHDRAWN]


@COMMANDS
def test_with_a_yes_it_is_done_under_a_name_and_can_be_taken_back(book: Book, tmp_path: Path, command: str) -> None:
    waiting = 1 if command == "map" else 2
    result = run(*arguments(command, book, tmp_path), *WHY, "--yes", width=200)
    assert result.exit_code == 0, result.output
    [act] = book.context.ledger.acts.all()
    assert (act.state, act.actor, act.why) == (ActState.DONE, "ada", "they merged")
    assert (book.balance(Bucket.QUARANTINED), book.balance(Bucket.PENDING)) == (waiting, 6 - waiting)
    assert run("take-back", act.id).exit_code == 0
    assert book.balance(Bucket.QUARANTINED) == 3


@COMMANDS
def test_what_has_changed_since_it_was_shown_is_not_done(
    book: Book, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody reads, a worker finds more; he would have agreed to what he has not seen."""
    command_line = arguments(command, book, tmp_path)
    monkeypatch.setattr(
        decide, "_confirm", lambda *_: book.move(EntryKind.QUARANTINED, [3], reason=PERHAPS_SENT_BEFORE)
    )
    assert "not what was shown" in refused(run(*command_line, *WHY))
    assert book.balance(Bucket.QUARANTINED) == 4


SLIPS: Final = [
    (("map", "customer", "cus_1", "cus_9", "--yes"), "--reason"),
    (("map", "customer", "cus_1", "", "--yes", *WHY), ""),
    (("map", "decimal-mark", "api_calls", ";", "--yes", *WHY), ";"),
    (("fix", "CASE", "--file", "nowhere.csv", "--yes", *WHY), "nowhere.csv"),
    (("fix", "case_x", "--file", "edit.csv", "--yes", *WHY), "case_x"),
    (("set", "CASE", "r99", "payload_value", "1", "--yes", *WHY), "r99"),
    (("set", "CASE", "r0", "@reason", "1", "--yes", *WHY), "@reason"),
    (("release", "case_x", "--yes", *WHY), "case_x"),
    (("release", "CASE", "--waiting-for", "archived_meter", "--yes", *WHY), "held back"),
    (("release", "CASE", "--record", "first", "--yes", *WHY), "first"),
    (("release", "CASE", "--yes", "--reason", " "), "reason"),
    (("events", "retry", "evt_x"), "evt_x"),
    (("user", "add", "ada", "--role", "king", "--generate"), "king"),
    (("user", "add", "console", "--role", "viewer", "--generate"), "console"),
    (("user", "add", "ada", "--role", "viewer"), "--generate"),
    (("user", "change", "nobody", "--role", "viewer"), "nobody"),
    (("user", "change", "nobody"), "--role"),
    (("user", "disable", "nobody"), "nobody"),
]
"""Command lines that cannot be, and what must stand in the line that says so."""


def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(book: Book) -> None:
    for command_line, said in SLIPS:
        result = run(*(book.case_id if part == "CASE" else part for part in command_line), width=200)
        assert said in refused(result), command_line
    assert book.balance(Bucket.QUARANTINED) == 3
    assert (book.context.ledger.rules.in_force(), book.context.ledger.users.all()) == ([], [])


def test_an_event_that_failed_is_taken_up_again(book: Book, clock: FrozenClock) -> None:
    """It would stay where it is, and its records with it, though its cause is mended."""
    events = book.context.ledger.events
    events.record(read_envelope(NO_METER, livemode=False))
    events.claim("evt_1", "worker", book.context.lease)
    events.finish("evt_1", "worker", EventState.FAILED, "Stripe answered 403")
    result = run("events", "retry", "evt_1", "--as", "ada")
    assert (result.exit_code, result.output) == (0, "evt_1: retried\n")
    stored = events.get("evt_1")
    assert stored is not None
    assert stored.state is EventState.RECEIVED
    assert [(act.kind, act.actor) for act in book.context.ledger.acts.all()] == [("retry", "ada")]


def test_people_are_let_in_given_another_role_and_shut_out(book: Book) -> None:
    """Somebody who has left would go on approving, or nobody would know who may."""
    added = run("user", "add", "ada", "--role", "operator", "--generate")
    assert added.exit_code == 0
    password = added.output.split("password ")[1].split(" ")[0]
    assert len(password) >= 12
    before = book.context.ledger.users.get("ada")
    assert before is not None
    assert password not in before.password_hash
    assert run("user", "change", "ada", "--role", "approver").output == "ada: is approver\n"
    assert "with another password" in run("user", "change", "ada", "--generate").output
    after = book.context.ledger.users.get("ada")
    assert after is not None
    assert (after.role, after.password_hash == before.password_hash) == ("approver", False)
    assert run("user", "disable", "ada").exit_code == 0
    assert book.context.ledger.users.get("ada") is None
    assert ", until 2" in run("user", "list").output
