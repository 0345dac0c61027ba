"""Records mended by hand. If these fail, what nobody has written is billed, or what somebody has mended is lost."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.audit.case_csv import write_csv
from workers.pipeline.desk import desk
from workers.pipeline.desk.edited_csv import edit_of, is_reformatted, read_edits
from workers.pipeline.desk.record_orders import keep_edits

Row = dict[str, str]
CUSTOMER, VALUE = "payload_stripe_customer_id", "payload_value"
EDITABLE = ("timestamp", "event_name", CUSTOMER, VALUE, "payload_note")


@pytest.fixture
def waiting(loop: Loop) -> str:
    """A case with four records that wait for a person, with what spreadsheets stumble over; its id."""
    header = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,payload_note,plan"
    rows = (
        "1000000000000000001,{t},api_requests,cus_gone,007,=1+1,0042",
        'use-2,{t},api_requests,cus_gone,2.50,"a, ""b""; c",basic',
        "use-3,{t},api_requests,cus_gone,3,,",
        "use-4,{t},api_requests,cus_gone,4,Grüße,true",
    )
    loop.upload("day.csv", usage(*rows, header=header))
    [case] = loop.cases()
    assert case.balance[Bucket.QUARANTINED].records == 4
    return case.id


@pytest.fixture
def exported(loop: Loop, waiting: str, tmp_path: Path) -> list[Row]:
    """The rows of the case's quarantine as they are handed out."""
    write_csv(loop.context, waiting, Bucket.QUARANTINED, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_file(path: Path, rows: list[Row], *, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    """Write rows as a spreadsheet does, in its order of columns."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def fix(loop: Loop, case_id: str, path: Path) -> Act:
    arguments = keep_edits(loop.context, case_id, read_edits(loop.context, case_id, path))
    act, _ = desk.ask(loop.context, "fix", case_id, arguments, actor="Ada", why="as the invoice says")
    return act


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_spreadsheet_does_to_the_file_exactly_what_was_edited_comes_back(
    loop: Loop, waiting: str, exported: list[Row], tmp_path: Path, data: st.DataObject
) -> None:
    cells = st.tuples(st.integers(0, 3), st.sampled_from(EDITABLE))
    texts = st.sampled_from(("cus_2", "12.5", "x;y", 'say "so"', "two\nlines", "Ünï"))
    edits = data.draw(st.dictionaries(cells, texts, min_size=1))
    rows = [dict(row) for row in exported]
    for (at, column), text in edits.items():
        rows[at][column] = text
    touched = {at for at, _ in edits}
    kept = data.draw(st.lists(st.sampled_from(range(4)), unique=True).map(lambda more: sorted({*more, *touched})))
    shuffled = data.draw(st.permutations([rows[at] for at in kept]))
    columns = data.draw(st.permutations(list(rows[0])))
    if data.draw(st.booleans()):  # a spreadsheet that takes the apostrophe for its own mark
        shuffled = [{name: text.removeprefix("'") for name, text in row.items()} for row in shuffled]
    mangled = [{name: row[name].replace("\n", "\r\n") for name in columns} for row in shuffled]
    encoding, delimiter = (
        data.draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "cp1252"))),
        data.draw(st.sampled_from((",", ";", "\t"))),
    )
    found = read_edits(
        loop.context, waiting, as_file(tmp_path / "in.csv", mangled, delimiter=delimiter, encoding=encoding)
    )
    expected = {(f"r{at}", column): text for (at, column), text in edits.items()}
    came = {
        (f"r{record}", column): (after or "").replace("\r\n", "\n")
        for record, column, _, after in found.cells.iter_rows()
    }
    assert came == {(rows[int(key[1:])]["record"], column): text for (key, column), text in expected.items()}
    assert found.left == []


def test_numbers_that_a_spreadsheet_writes_its_own_way_are_reported_and_no_edits(
    loop: Loop, waiting: str, exported: list[Row], tmp_path: Path
) -> None:
    exported[0] |= {"identifier": "1E+18", VALUE: "7", "plan": "42"}
    exported[1] |= {VALUE: "2.5", CUSTOMER: "cus_2"}
    exported[3] |= {"plan": "TRUE"}
    found = read_edits(loop.context, waiting, as_file(tmp_path / "in.csv", exported))
    assert [row[1] for row in found.cells.iter_rows()] == [CUSTOMER]
    assert len(found.left) == 5
    assert "row 2, column identifier: 1000000000000000001 came back as 1E+18" in found.left[0]


@pytest.mark.parametrize(
    ("before", "cell", "same"),
    [
        ("12345678901234567890", "12345678901234500000", True), ("12345678901234567890", "1,23457E+19", True),
        ("1.2E+11", "120000000000", False), ("1.234", "1234", False), ("1,5", "1.5", False), ("10", "11", False),
        ("12345678901234567890", "12345678901234567891", False), ("1e3", "1.00E+03", True), ("", "0", False),
    ],
)  # fmt: skip
def test_another_form_of_one_number_is_told_from_another_number(before: str, cell: str, *, same: bool) -> None:
    assert is_reformatted(before, cell) is same


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"identifier": "use-9"}, "in.csv row 3, column identifier"),
        ({"plan": "gold"}, "in.csv row 3, column plan"),
        ({"reason": "none"}, "in.csv row 3, column reason"),
        ({"record": "r99"}, "in.csv row 3, column record: no record r99"),
        ({"record": "r0"}, "column record: r0 stands there twice"),
        ({"record": ""}, "in.csv row 3, column record: it names no record"),
        ({"comment": "see mail"}, "in.csv row 1, column comment"),
    ],
)
def test_what_may_not_be_changed_is_one_error_with_row_and_column_and_nothing_is_done(
    loop: Loop, waiting: str, exported: list[Row], tmp_path: Path, change: Row, told: str
) -> None:
    rows = [{**row, **dict.fromkeys(change.keys() - row.keys(), "")} for row in exported]
    rows.sort(key=lambda row: row["record"])
    rows[1] |= change
    rows[2] |= {CUSTOMER: "cus_1"}
    with pytest.raises(InputUnusable, match=told):
        read_edits(loop.context, waiting, as_file(tmp_path / "in.csv", rows))


def test_edited_records_are_shown_checked_again_and_billed_as_edited(
    loop: Loop, waiting: str, exported: list[Row], tmp_path: Path
) -> None:
    rows = {row["identifier"]: row for row in exported}
    rows["use-2"] |= {CUSTOMER: "cus_2", VALUE: "25"}
    rows["use-3"] |= {CUSTOMER: "cus_nobody"}
    act = fix(loop, waiting, as_file(tmp_path / "in.csv", exported))
    effect = act.effect or {}
    [first, second] = sorted(effect["examples"], key=lambda one: str(one["identifier"]))
    assert first["before"] == {CUSTOMER: "cus_gone", VALUE: "2.50"}
    assert (first["after"], first["note"]) == ({CUSTOMER: "cus_2", VALUE: "25"}, "")
    assert second["note"] == "meter_event_customer_not_found"
    desk.approve(loop.context, act, "Ada")
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_2"): "25"}
    assert loop.balance[Bucket.QUARANTINED].records == 3
    assert_proved(loop)


def test_one_cell_is_set_and_waits_again_as_it_stood_when_that_is_taken_back(loop: Loop, waiting: str) -> None:
    edits = edit_of(loop.context, waiting, "r2", CUSTOMER, "cus_1")
    arguments = keep_edits(loop.context, waiting, edits)
    act, _ = desk.ask(loop.context, "fix", waiting, arguments, actor="Ada", why="a slip")
    done = desk.approve(loop.context, act, "Ada")
    assert loop.balance[Bucket.PENDING].records == 1
    desk.take_back(loop.context, done, "Grace")
    assert loop.balance[Bucket.QUARANTINED].records == 4
    assert edit_of(loop.context, waiting, "r2", CUSTOMER, "cus_1").cells.item(0, "before") == "cus_gone"
    with pytest.raises(InputUnusable, match="may not be changed"):
        edit_of(loop.context, waiting, "r2", "identifier", "use-9")
    assert_proved(loop)


def test_a_case_is_retried_under_a_name_and_waits_again_when_that_is_taken_back(loop: Loop, waiting: str) -> None:
    act, effect = desk.ask(
        loop.context, "retry", waiting, {"cases": [waiting], "chosen": {"records": [0, 1]}}, actor="Ada", why="now"
    )
    assert effect.records == 2
    done = desk.approve(loop.context, act, "Ada")
    entry = loop.ledger.queries.entries(waiting)[-1]
    assert (entry.actor, entry.records, entry.detail["act"]) == ("Ada", 2, act.id)
    desk.carry_out(replace(loop.context), replace(act, state=done.state))
    assert loop.balance[Bucket.PENDING].records == 2
    desk.take_back(loop.context, done, "Grace")
    assert (loop.balance[Bucket.PENDING].records, loop.balance[Bucket.QUARANTINED].records) == (0, 4)
    with pytest.raises(InputUnusable, match="no such record is held back"):
        desk.ask(loop.context, "release", waiting, {"cases": [waiting]}, actor="Ada", why="I have looked")
    assert_proved(loop)
