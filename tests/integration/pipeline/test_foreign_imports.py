"""Whose import was it? If these fail, refused usage is taken for a catalogue, and nobody hears of it."""

from typing import Any

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.stripe_says import error_file, verdict
from tests.integration.pipeline.test_which_record import keep, waiting
from workers.kernel.ledger.events import EventState
from workers.pipeline.intake.import_set import FOREIGN

NO_TABLES = {
    "a page": "<!doctype html><html><body>Sign in</body></html>",
    "a page of several lines": "<html>\n<head><title>Sorry, no</title></head>\n<body>1,2</body>\n</html>\n",
    "an answer in XML": '<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code><Message>no</Message></Error>\n',
    "an error of Stripe's": '{"error":{"message":"no such file","type":"invalid_request_error"}}',
    "another error": '{"message": "no such file", "request_id": "req_1"}',
    "an error over lines": '{\n  "status": 403,\n  "title": "Forbidden"\n}\n',
    "an empty list": "[]",
    "a word": "Forbidden",
    "a sentence": "Sorry, something went wrong",
    "two sentences": "Sorry, something went wrong.\nSign in, then try again.\n",
    "a header alone": "id,title,error_message\n",
}
CATALOGUE = "id,title,price\nsku-1,Shirt,10\nsku-2,Hat,20\n"
REFUSED_OF_CATALOGUE = {
    "rows": "id,title,price,error_message\nsku-1,Shirt,10,no such currency\nsku-2,Hat,20,no such currency\n",
    "rows in JSON": '{"id":"sku-1","title":"A","error":"no"}\n{"id":"sku-2","title":"B","error":"no"}\n',
    "one row": "id;title;error\nsku-1;Shirt;no such currency\n",
}
ROWS = ("a,{t}x,api_requests,cus_1,5", "b,{t}x,api_requests,cus_1,6", "c,{t},api_requests,cus_1,7")


def refused_rows(loop: Loop, text: str, **told: Any) -> str | None:
    """Let Stripe refuse two rows of day.csv, and give that text as their list; return why the event was ignored."""
    errors = {"row_count": 2, "file": error_file(loop, text)}
    return ended(loop, verdict(loop, "day.csv", status="succeeded_with_errors", result={"errors": errors}, **told))


def refused_file(loop: Loop, **told: Any) -> str | None:
    """Let Stripe refuse day.csv, of two rows, as a whole; return why the event was ignored."""
    return ended(loop, verdict(loop, "day.csv", status="failed", result={"rows_processed": 2}, **told))


def ended(loop: Loop, event_id: str) -> str | None:
    event = loop.ledger.events.get(event_id)
    assert event is not None
    assert event.state in {EventState.DONE, EventState.IGNORED}
    return event.reason


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("body", NO_TABLES)
def test_a_list_of_refused_rows_that_is_none_does_not_hide_that_they_were_refused(
    loop: Loop, body: str, is_there: bool
) -> None:
    if is_there:
        keep(loop, "day.csv", *ROWS)
    assert refused_rows(loop, NO_TABLES[body]) is None
    assert waiting(loop) == {"rows_not_listed": 2}


@pytest.mark.parametrize("body", NO_TABLES)
def test_what_stands_in_a_refused_files_place_does_not_hide_that_it_was_refused(loop: Loop, body: str) -> None:
    assert refused_file(loop, file=error_file(loop, NO_TABLES[body])) is None
    assert waiting(loop) == {"file_not_found": 2}


@pytest.mark.parametrize("rows", REFUSED_OF_CATALOGUE)
def test_refused_rows_of_a_catalogue_are_nobodys_usage(loop: Loop, rows: str) -> None:
    """Whoever imports products would be told of usage that he never had."""
    foreign = refused_rows(loop, REFUSED_OF_CATALOGUE[rows]) == FOREIGN
    assert foreign is (loop.cases() == [])
    assert foreign


@pytest.mark.parametrize("told_by", ["the sources", "the sources, written over since", "Stripe"])
@pytest.mark.parametrize("rows", REFUSED_OF_CATALOGUE)
def test_the_list_of_another_import_does_not_hide_refused_usage(loop: Loop, rows: str, told_by: str) -> None:
    """Stripe, or a mirror of it, gives the wrong file: two rows of usage were refused all the same."""
    original = usage(*ROWS)
    if told_by != "Stripe":
        keep(loop, "day.csv", *ROWS)
    told: dict[str, Any] = {"file": error_file(loop, original)} if told_by == "Stripe" else {}
    if "since" in told_by:
        told["created"] = int(loop.clock().timestamp()) - 86_400
    assert refused_rows(loop, REFUSED_OF_CATALOGUE[rows], **told) is None
    assert waiting(loop) == {"rows_not_listed": 2}


@pytest.mark.parametrize("numbers", ["row,error_message\n1,no\n2,no\n", "line,reason\n1,no\n2,no\n"])
def test_a_list_of_numbers_is_foreign_where_its_original_is(loop: Loop, numbers: str) -> None:
    assert refused_rows(loop, numbers, file=error_file(loop, CATALOGUE)) == FOREIGN


@pytest.mark.parametrize("header", ["when,what,who,amount", "id;title;price", "Datum,Kunde,Menge"])
def test_a_header_that_nobody_knows_is_usage_where_the_file_lies_among_it(loop: Loop, header: str) -> None:
    """An export that names its columns anew one night is refused whole, and was taken for a catalogue."""
    text = header + "\n" + "\n".join(header.replace("a", "1") for _ in range(2)) + "\n"
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "day.csv").write_text(text)
    assert refused_file(loop) is None
    assert waiting(loop) == {"file_not_found": 2}


def test_a_catalogue_that_was_refused_whole_is_nobodys_usage(loop: Loop) -> None:
    assert refused_file(loop, file=error_file(loop, CATALOGUE)) == FOREIGN
    assert loop.cases() == []
