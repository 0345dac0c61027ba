"""`metermend forget` at the terminal. If these fail, somebody is erased unasked, or no auditor learns of it."""

import json

from tests.books import Book
from tests.unit.cli.test_deciding import WHY, book, refused
from tests.unit.cli.usage import run
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.journal import EntryKind

__all__ = ["book"]


def settle_all(book: Book) -> None:
    book.move(EntryKind.WRITTEN_OFF, [0, 1, 2])
    book.confirm([3, 4, 5], book.send([3, 4, 5]))


def test_who_has_records_that_wait_is_told_where_and_what_to_do(book: Book) -> None:
    said = refused(run("forget", "cus_1", *WHY, "--yes", width=400))
    assert f"{book.case_id} (3 pending, 3 quarantined): records of this customer are not settled" in said
    assert f"metermend write-off {book.case_id}" in said
    assert book.context.ledger.acts.all() == []


def test_what_would_go_is_shown_first_and_goes_with_a_yes_only(book: Book) -> None:
    settle_all(book)
    looked = run("forget", "cus_1", *WHY, width=400)
    assert "nothing was done" in refused(looked)
    assert "one customer is erased for ever, from 6 records of 1 case: 5 files" in looked.stdout
    assert "in backups and in logs stays" in looked.stdout
    [act] = book.context.ledger.acts.all()
    assert (act.state, act.arguments) == (ActState.WITHDRAWN, {"customer": "erased"})
    done = run("forget", "cus_1", *WHY, "--yes", width=400)
    assert "done, 6 records\n" in done.stdout
    assert "nothing here names this customer" in refused(run("forget", "cus_1", *WHY, "--yes", width=400))


def test_an_auditor_sees_that_and_why_and_by_whom_and_not_who_was_erased(book: Book) -> None:
    settle_all(book)
    run("forget", "cus_1", *WHY, "--yes")
    proved = run("prove", width=400)
    assert proved.exit_code == 0, proved.output
    assert f"{book.case_id}: a customer was erased on 2026-11-21 by ada (act_" in proved.stdout
    assert "they merged" in proved.stdout
    [told] = json.loads(run("prove", "--json").stdout)["erased"]
    assert (told["case"], told["by"], told["records"]) == (book.case_id, "ada", 6)
    shown = run("case", "show", book.case_id, width=400).output + run("acts", "--json").output
    assert "cus_1" not in proved.output + shown
