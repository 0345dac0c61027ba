"""A value, a customer and a quantity are what the rest of their file says they are.

If one fails, a customer is billed a thousand times too much or too little, for a status code, or for another.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.remedies.frames import EPOCH_NOW, NOW, good, records
from workers.kernel.codes import Outcome
from workers.offline.repair_files import plan_file
from workers.offline.survey import PlanOptions
from workers.records.catalog import Catalog, Meter
from workers.records.notation import evidence_in, with_evidence
from workers.records.schema import IDENTIFIER, OUTCOME, QUANTITY, REASON, SUGGESTION, VALUE
from workers.remedies import Rules, parse_rules, repair_frame

METERS = Catalog(meters=(Meter("api_calls"), Meter("tokens", value_column="payload_tokens", dimensions=())))
SUCCEEDED = Catalog(meters=(*(METERS.meters or ()), Meter("old_calls", active=False)))
TIME = str(EPOCH_NOW - 3600)


def planned(
    rows: Sequence[Mapping[str, str | None]],
    rules: Rules | None = None,
    part_bytes: int = 1 << 20,
    catalog: Catalog = METERS,
) -> dict[str, dict[str, str]]:
    """Return what `repair` would send of a file with these rows, by identifier."""
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "usage.jsonl", Path(folder) / "out"
        path.write_text("\n".join(map(_line, rows)) + "\n", encoding="utf-8")
        options = PlanOptions(part_bytes=part_bytes)
        plan_file(path, catalog=catalog, rules=rules or Rules(), now=NOW, out=out, options=options)
        corrected = out / "corrected.csv"
        if not corrected.exists():
            return {}
        with corrected.open(encoding="utf-8", newline="") as file:
            return {row[IDENTIFIER]: row for row in csv.DictReader(file)}


def _line(row: Mapping[str, str | None]) -> str:
    payload = {name.removeprefix("payload_"): text for name, text in row.items() if name.startswith("payload_")}
    outer = {name: text for name, text in row.items() if not name.startswith("payload_")}
    return json.dumps({**outer, "payload": payload})


def in_one_file(
    rows: Sequence[Mapping[str, str | None]], rules: Rules | None = None, catalog: Catalog = METERS
) -> list[dict[str, str]]:
    """Return the outcome of each of the rows of a file."""
    frame = records(rows)
    judged = repair_frame(
        with_evidence(frame, evidence_in(frame)), catalog=catalog, rules=rules or Rules(), now=NOW
    )
    return judged.to_dicts()


@dataclass(frozen=True)
class Writer:
    """Somebody with one way of writing numbers; `proof` is a number that can be written his way only."""

    decimal: str
    group: str
    proof: str

    def write(self, amount: Decimal) -> str:
        return f"{amount:,f}".replace(",", "\0").replace(".", self.decimal).replace("\0", self.group)


WRITERS = [
    Writer(",", ".", "1.234,50"), Writer(",", ".", "12.345.678"), Writer(",", "", "12,5"),
    Writer(",", " ", "1 234,5"), Writer(",", "'", "7,25"), Writer(".", ",", "1,234.50"),
    Writer(".", ",", "12,345,678"), Writer(".", "'", "1'234.5"), Writer(".", "", "1,234.50"),
]  # fmt: skip
AMOUNTS = st.lists(
    st.decimals(min_value=-(10**7), max_value=10**7, places=3).map(lambda amount: amount.normalize())
    | st.integers(1000, 999_999).map(Decimal)
    | st.sampled_from([Decimal(text) for text in ("1234", "1.234", "1.5", "12345678", "0.001", "999.999", "100")]),
    min_size=1,
    max_size=8,
)


@given(st.sampled_from(WRITERS), AMOUNTS, st.sampled_from([200, 1 << 20]))
@example(WRITERS[0], [Decimal(1234), Decimal("1.5")], 200)
@example(WRITERS[2], [Decimal("1.234"), Decimal("0.5")], 1 << 20)
def test_nothing_of_a_file_that_shows_its_notation_is_sent_with_another_meaning(
    writer: Writer, amounts: list[Decimal], part_bytes: int
) -> None:
    texts = {f"id-{place}": amount for place, amount in enumerate(amounts)}
    rows = [
        good(identifier=name, timestamp=TIME, payload_value=writer.write(amount)) for name, amount in texts.items()
    ]
    sent = planned([*rows, good(identifier="proof", payload_value=writer.proof)], part_bytes=part_bytes)
    assert {name: Decimal(row[VALUE]) for name, row in sent.items() if name in texts} == {
        name: texts[name] for name in sent if name in texts
    }
    whole = {name for name, amount in texts.items() if writer.write(amount).lstrip("-").isdigit()}
    assert whole <= set(sent), "a number without marks has one reading in any notation"


@given(st.sampled_from([writer for writer in WRITERS if writer.group]), AMOUNTS)
def test_a_rule_that_names_the_marks_reads_all_of_a_file_and_all_of_it_rightly(
    writer: Writer, amounts: list[Decimal]
) -> None:
    """Also what would be plain without it: to the sender of `1.234,50`, `1.234` is 1234."""
    comma = "true" if writer.decimal == "," else "false"
    rules = parse_rules(f'[[values]]\ndecimal_comma = {comma}\nthousands = "{writer.group}"')
    texts = {f"id-{place}": amount for place, amount in enumerate(amounts)}
    rows = [
        good(identifier=name, timestamp=TIME, payload_value=writer.write(amount)) for name, amount in texts.items()
    ]
    sent = planned(rows, rules)
    assert {name: Decimal(row[VALUE]) for name, row in sent.items()} == texts


@given(AMOUNTS)
def test_plain_decimals_alone_are_sent_as_they_are(amounts: list[Decimal]) -> None:
    """A file without evidence stays as it was: nobody is asked about 1.234."""
    rows = [good(identifier=f"id-{place}", payload_value=f"{amount:f}") for place, amount in enumerate(amounts)]
    sent = planned(rows)
    assert [row[VALUE] for row in sent.values()] == [f"{amount:f}" for amount in amounts]


@pytest.mark.parametrize(
    ("proof", "text", "reason"),
    [
        ("12,5", "1.234", "value_of_other_notation"),
        ("12,5", "1.5", "value_of_other_notation"),
        ("1.234,50", "1.234", "value_of_other_notation"),
        ("12.345.678", "0.75", "value_of_other_notation"),
        ("12,5", "-3.125", "value_of_other_notation"),
        ("12,5", "1,234.50", "meter_event_invalid_value"),
        ("1.234,50", "12,345,678", "meter_event_invalid_value"),
        ("1,234.50", "1.234,5", "meter_event_invalid_value"),
        ("12,345,678", "1.234.567", "meter_event_invalid_value"),
        ("12,5", "1.5e3", "meter_event_invalid_value"),
        ("1 234,5", "2.500 ", "meter_event_invalid_value"),
        ("12,5 GB", "1.234", "value_of_other_notation"),
    ],
)
def test_a_value_of_the_other_notation_waits_and_the_evidence_is_named(proof: str, text: str, reason: str) -> None:
    _, waits = in_one_file([good(payload_value=proof), good(payload_value=text)])
    assert [waits[OUTCOME], waits[REASON]] == [Outcome.QUARANTINED, reason]
    assert [waits[QUANTITY]] == [None]
    assert f"the same file writes {proof}" in waits[SUGGESTION]


@pytest.mark.parametrize("text", ["5", "1234", "-7", "25E+2", "1 234 567", " 8 "])
def test_what_has_no_mark_does_not_wait(text: str) -> None:
    """To hold back a whole file for one comma would cost as much as to bill it wrongly."""
    _, other = in_one_file([good(payload_value="12,5"), good(payload_value=text)])
    assert other[OUTCOME] in {Outcome.VALID, Outcome.REPAIRED}


def test_the_evidence_of_one_meter_is_not_held_against_another() -> None:
    mixed = [good(payload_value="12,5"), good(event_name="tokens", payload_value=None, payload_tokens="1.234")]
    assert in_one_file(mixed)[1][OUTCOME] == Outcome.VALID


def test_a_record_keeps_the_evidence_of_the_name_that_its_file_gives_it() -> None:
    """An alias sends it to another meter; its sender's commas stay commas."""
    rules = parse_rules('[event_names]\naliases = { calls = "api_calls" }')
    rows = [good(event_name="calls", payload_value="12,5"), good(event_name="calls", payload_value="1.234")]
    assert [row[OUTCOME] for row in in_one_file(rows, rules)] == [Outcome.QUARANTINED] * 2


ALIAS = '[event_names]\naliases = { calls = "api_calls" }'
SUCCESSOR = '[[archived_meters]]\nmeter = "old_calls"\nsuccessor = "api_calls"'


@pytest.mark.parametrize(
    ("shows", "asks", "rule"),
    [
        ("API_CALLS", "api_calls", ""),
        ("API_CALLS", "Api-Calls", ""),
        ("api_calls", "API CALLS", ""),
        (" api_calls", "api_calls ", ""),
        ('"api_calls"', "\u00a0api_calls", ""),
        ("calls", "api_calls", ALIAS),
        ("api_calls", "calls", ALIAS),
        (" calls ", "API_CALLS", ALIAS),
        ("old_calls", "api_calls", SUCCESSOR),
        ("Old calls", "old_calls", f'{ALIAS[:-2]}, "Old calls" = "old_calls" }}\n{SUCCESSOR}'),
    ],
)
def test_a_file_that_spells_its_meter_in_several_ways_is_not_billed_a_thousandth(
    shows: str, asks: str, rule: str
) -> None:
    """All of them are repaired to one meter, so that they are written by one hand."""
    rows = [
        good(identifier="shows", event_name=shows, payload_value="1.234,50"),
        good(identifier="asks", event_name=asks, payload_value="1.234"),
        good(identifier="whole", event_name=asks, payload_value="7"),
        good(identifier="other", event_name="tokens", payload_tokens="1.234"),
    ]
    sent = planned(rows, parse_rules(rule), 200, SUCCEEDED)
    assert {name: row["event_name"] for name, row in sent.items()} == {
        "shows": "api_calls", "whole": "api_calls", "other": "tokens"
    }  # fmt: skip


def test_a_row_that_names_no_meter_holds_up_none() -> None:
    rows = [good(event_name=name, payload_value="12,5") for name in ("", "  ", None)]
    assert in_one_file([*rows, good(payload_value="1.234")])[-1][OUTCOME] == Outcome.VALID


def test_a_quantity_that_a_rule_takes_from_another_column_is_judged_by_that_column() -> None:
    rules = parse_rules('[[values]]\ncolumn = "payload_units"')
    rows = [good(payload_value=None, payload_units=text) for text in ("12,5", "1.234", "7")]
    assert [row[OUTCOME] for row in in_one_file(rows, rules)] == ["quarantined", "quarantined", "repaired"]


def test_a_rule_overrules_the_evidence() -> None:
    """The operator knows that the comma was a slip of the pen."""
    rules = parse_rules("[[values]]\ndecimal_comma = false")
    slip, other = in_one_file([good(payload_value="12,5"), good(payload_value="1.234")], rules)
    assert (slip[OUTCOME], other[OUTCOME]) == (Outcome.QUARANTINED, Outcome.VALID)


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ("decimal_comma = true", "1.234", None),
        ("decimal_comma = true", "1.5", None),
        ("decimal_comma = true", "1.234,5", "1234.5"),
        ("decimal_comma = true", "1234", "1234"),
        ('thousands = "."', "1.234", "1234"),
        ('thousands = "."', "12.5", None),
        ('thousands = "."', "1.234,567", "1234.567"),
        ('thousands = ","', "1,234", "1234"),
        ('thousands = ","', "1.234", "1.234"),
        ('thousands = ","', "12,5", None),
        ('thousands = "\'"', "1'234", "1234"),
        ('thousands = " "', "1 234.5", "1234.5"),
        ('thousands = " "\ndecimal_comma = true', "1\u202f234,5", "1234.5"),
        ('thousands = " "', "1'234", None),
        ('thousands = "."\nstrip_units = ["GB"]', "1.234 GB", "1234"),
    ],
)
def test_a_rule_says_what_the_marks_mean(rule: str, text: str, value: str | None) -> None:
    (row,) = in_one_file([good(payload_value=text)], parse_rules(f"[[values]]\n{rule}"))
    assert (row[VALUE] if row[OUTCOME] in {Outcome.VALID, Outcome.REPAIRED} else None) == value
    assert row[QUANTITY] == value


def test_what_was_read_once_is_not_read_again() -> None:
    """Refused once more for another cause, 1.234 that we made of 1,234 GB would become 1234."""
    rules = parse_rules('[[values]]\nthousands = "."\nstrip_units = ["GB"]')
    frame = records([good(payload_value="1,234 GB"), good(identifier="id-2", payload_value="12,5")])
    once = repair_frame(with_evidence(frame, evidence_in(frame)), catalog=METERS, rules=rules, now=NOW)
    assert once[VALUE].to_list() == ["1.234", "12.5"]
    again = repair_frame(once, catalog=METERS, rules=rules, now=NOW)
    assert again[VALUE].to_list() == ["1.234", "12.5"]
    assert set(again[OUTCOME]) == {Outcome.VALID}


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("original_date", "1758141836"), ("http_status", "200"), ("user_id", "4711"), ("retry_count", "2"),
        ("port", "8443"), ("year", "2026"), ("latency_ms", "12.5"), ("seats", "7"), ("price", "0.10"),
        ("tokens_limit", "100000"), ("units", "12"), ("quantity", "3"),
    ],
)  # fmt: skip
def test_a_number_is_no_quantity_because_it_is_the_only_one(key: str, number: str) -> None:
    """1,758,141,836 minutes were billed for a date."""
    (row,) = in_one_file([good(event_name="tokens", payload_value=None, **{f"payload_{key}": number})])
    assert row[OUTCOME] == Outcome.QUARANTINED
    assert f"it could be {number}" in row[SUGGESTION]


def test_stripes_own_key_is_a_quantity() -> None:
    (row,) = in_one_file([good(event_name="tokens", payload_value="120", payload_http_status="200")])
    assert (row[OUTCOME], row["payload_tokens"]) == (Outcome.REPAIRED, "120")


KEYS = [
    "stripe_account", "payload_stripe_account", "account", "account_id", "payload_account_id", "customer",
    "payload_customer", "stripe_id", "customer_account", "payload_cus_id", "Stripe_Account_Id",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_column_that_names_another_id_on_rows_with_a_customer_is_not_the_customer(key: str) -> None:
    """9 units were billed to the platform itself."""
    rows = [
        good(payload_stripe_customer_id=customer, **{key: "acct_1Platform"})
        for customer in ("cus_A", None, "cus_B")
    ]
    judged = in_one_file(rows, catalog=METERS)
    assert [row[OUTCOME] for row in judged] == [Outcome.VALID, Outcome.QUARANTINED, Outcome.VALID]
    assert "acct_1Platform stands in a column" in judged[1][SUGGESTION]


@pytest.mark.parametrize("key", KEYS)
def test_a_column_that_agrees_with_the_customer_where_he_is_named_may_stand_in(key: str) -> None:
    rows = [
        good(payload_stripe_customer_id=named, **{key: customer})
        for named, customer in (("cus_A", "cus_A"), (None, "cus_C"), ("cus_B", None))
    ]
    assert [row[OUTCOME] for row in in_one_file(rows)] == ["valid", "repaired", "valid"]


def test_evidence_stands_for_the_rows_of_a_file_that_are_judged_elsewhere() -> None:
    """The service judges one row of a million: what the others told must have come along with it."""
    frame = records([good(payload_value="12,5"), good(payload_value="1.234"), good(payload_value="5")])
    alone = with_evidence(frame, evidence_in(frame))[1:]
    judged = repair_frame(alone, catalog=METERS, rules=Rules(), now=NOW)
    assert judged[OUTCOME].to_list() == [Outcome.QUARANTINED, Outcome.VALID]


def test_records_of_several_files_are_each_judged_by_their_own() -> None:
    frames = [
        records([good(payload_value="12,5"), good(payload_value="1.234")]),
        records([good(payload_value="1.234")]),
    ]
    together = pl.concat([with_evidence(frame, evidence_in(frame)) for frame in frames], how="diagonal")
    judged = repair_frame(together, catalog=METERS, rules=Rules(), now=NOW)
    assert judged[OUTCOME].to_list() == ["quarantined", "quarantined", "valid"]
