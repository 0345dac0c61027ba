"""If these fail, an auditor takes a submission for vouched for by Stripe where nobody has said a word."""

from pathlib import Path

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import EntryKind
from workers.pipeline.submit.confirm import BY_SILENCE, confirm


def test_what_only_silence_confirms_says_so(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> None:
    context = a_context(sqlite_ledger, tmp_path, clock)
    book = Book(context, 2)
    book.send([0, 1])
    clock.turn(minutes=31)
    with book.held() as held:
        confirm(context, held)
    (told,) = [e.detail for e in sqlite_ledger.queries.entries(book.case_id) if e.kind == EntryKind.CONFIRMED]
    assert told["by"] == BY_SILENCE
