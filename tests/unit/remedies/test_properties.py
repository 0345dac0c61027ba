"""What holds for every record, however odd: nothing lost, nothing guessed, nothing changed twice."""

import json
from decimal import Decimal

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.remedies.frames import CATALOG, EPOCH_NOW, GOOD, NOW, good, records
from workers.kernel.codes import MALFORMED_RECORD, Code, Outcome
from workers.offline.summary import OutcomeCounts
from workers.records import quantities
from workers.records.catalog import Catalog, Meter
from workers.records.quick_check import SOUND, mark_sound
from workers.records.schema import CHANGES, CODE, FAULT, OUTCOME, QUANTITY, ROW
from workers.records.validation import first_fault
from workers.remedies import parse_rules, repair_frame
from workers.remedies.engine import circumstances

ODD_VALUES = st.sampled_from(
    ["5", "-2", "0.10", "1,234", "1,234,567", " 7 ", "1e3", "NaN", "12 GB", "1.50000000000000000", "٣", "", None]
) | st.text(alphabet="0123456789.,- eE+'\u00a0", max_size=12)
ODD_TIMES = st.sampled_from(
    ["2026-11-20", "2026-11-20T10:00:00Z", "2026-11-20 10:00:00", "1.79E+9", "46346", "x", "", None]
) | st.integers(EPOCH_NOW - 40 * 86400, EPOCH_NOW + 2 * 86400).flatmap(
    lambda seconds: st.sampled_from([str(seconds), str(seconds * 1000), f" {seconds}", f"{seconds}.5"])
)
ODD_CUSTOMERS = st.sampled_from(["cus_known", " cus_known", "cus_gone", "acme", "loop", "", None])
ODD_NAMES = st.sampled_from(["api_calls", "API-Calls", "tokens", "old", "calls", "nothing", " ", None])
CODES = st.sampled_from([None, None, None, *Code, MALFORMED_RECORD, "brand_new"])
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "identifier": st.sampled_from(["a", "b", None, "x" * 101]),
            "timestamp": ODD_TIMES,
            "event_name": ODD_NAMES,
            "payload_stripe_customer_id": ODD_CUSTOMERS,
            "payload_value": ODD_VALUES,
            "payload_tokens": ODD_VALUES,
            "payload_customer": ODD_CUSTOMERS,
            "payload_region": st.sampled_from(["eu", None]),
            CODE: CODES,
        }
    ),
    min_size=1,
    max_size=12,
)
MIXED = Catalog(
    meters=(
        Meter("api_calls"),
        Meter("tokens", value_column="payload_tokens", dimensions=("payload_region",)),
        Meter("old", active=False),
    ),
    customers=pl.Series(["cus_known", "cus_other"]),
)
RULES = parse_rules("""
[customers]
aliases = { acme = "cus_other", loop = "pool", pool = "loop" }
[event_names]
aliases = { calls = "api_calls" }
[[values]]
strip_units = ["GB"]
[timestamps]
naive_zone = "Europe/Berlin"
[[archived_meters]]
meter = "old"
wait = true
""")
CATALOGS = st.sampled_from([MIXED, Catalog(), Catalog(meters=MIXED.meters), CATALOG])


@given(rows=RECORDS, catalog=CATALOGS, refused=st.booleans())
def test_every_record_has_one_outcome_in_its_place(
    rows: list[dict[str, str | None]], catalog: Catalog, refused: bool
) -> None:
    """A record without an outcome is lost; one out of order overwrites a newer value of a pre-aggregated meter."""
    after = repair_frame(records(rows), catalog=catalog, rules=RULES, now=NOW, resubmit_valid=not refused)
    assert after[ROW].to_list() == list(range(1, len(rows) + 1))
    assert set(after[OUTCOME]) <= set(Outcome)
    assert after.filter(pl.col(OUTCOME) == Outcome.VALID)[FAULT].null_count() == (after[OUTCOME] == "valid").sum()
    assert after.filter(pl.col(OUTCOME) != Outcome.VALID)[FAULT].null_count() == 0


@given(rows=RECORDS, catalog=CATALOGS)
def test_a_repaired_record_passes_the_diagnosis_and_is_not_changed_again(
    rows: list[dict[str, str | None]], catalog: Catalog
) -> None:
    """What Stripe would refuse again is no repair, and a second run must not change money."""
    once = repair_frame(records(rows), catalog=catalog, rules=RULES, now=NOW)
    sent = once.filter(pl.col(OUTCOME).is_in([Outcome.VALID, Outcome.REPAIRED]))
    sender = [name for name in once.columns if not name.startswith("@")]
    again = repair_frame(sent.select(*sender, ROW, "@source"), catalog=catalog, rules=RULES, now=NOW)
    assert set(again[OUTCOME]) <= {Outcome.VALID}
    assert again.select(sender).equals(sent.select(sender))


WAITS_AND_IS_MENDED = good(timestamp=str(EPOCH_NOW + 3600), payload_value=" 7 ") | {CODE: "timestamp_in_future"}
IS_MENDED = good(timestamp=str((EPOCH_NOW - 3600) * 1000)) | {CODE: "timestamp_in_future"}


@given(rows=RECORDS, catalog=CATALOGS)
@example(rows=[WAITS_AND_IS_MENDED, IS_MENDED], catalog=MIXED)
def test_a_record_is_judged_alike_in_any_company(rows: list[dict[str, str | None]], catalog: Catalog) -> None:
    """Parts and workers cut a file anywhere: a plan that hangs on the cut is no plan."""
    frame = records(rows)
    whole = repair_frame(frame, catalog=catalog, rules=RULES, now=NOW)
    alone = [repair_frame(frame[row], catalog=catalog, rules=RULES, now=NOW) for row in range(frame.height)]
    assert pl.concat(alone, how="diagonal").select(whole.columns).equals(whole)


@given(rows=RECORDS, catalog=CATALOGS)
def test_quarantined_records_are_as_they_were(rows: list[dict[str, str | None]], catalog: Catalog) -> None:
    """A half-repaired record would be sent by whoever mends the other half."""
    before = records(rows)
    after = repair_frame(before, catalog=catalog, rules=RULES, now=NOW)
    kept = pl.col(OUTCOME).is_in([Outcome.QUARANTINED, Outcome.VALID])
    sender = [name for name in before.columns if not name.startswith("@")]
    assert after.filter(kept).select(sender).equals(before.filter(after.select(kept).to_series()).select(sender))
    assert after.filter(kept)[CHANGES].null_count() == after.filter(kept).height


@given(rows=RECORDS)
def test_without_a_rule_a_quantity_changes_only_to_its_one_reading(rows: list[dict[str, str | None]]) -> None:
    """Anything else is a guess about money."""
    after = repair_frame(records(rows), catalog=MIXED, rules=parse_rules(""), now=NOW)
    for listed in after[CHANGES].drop_nulls():
        for change in json.loads(listed):
            if change["column"] not in {"payload_value", "payload_tokens"} or change["before"] is None:
                continue
            if quantities.bare(change["before"]):
                reading = quantities.read(change["before"]).text
                assert reading is not None
                assert Decimal(reading) == Decimal(change["after"])


def counted(repaired: pl.DataFrame) -> OutcomeCounts:
    valid = repaired.filter(pl.col(OUTCOME) == Outcome.VALID)
    others = OutcomeCounts.of(repaired.filter(pl.col(OUTCOME) != Outcome.VALID))
    return others + OutcomeCounts.of_valid(valid.height, quantities.total(valid[QUANTITY]))


@given(rows=RECORDS, catalog=CATALOGS)
def test_the_quantity_of_all_outcomes_is_the_quantity_of_all_records(
    rows: list[dict[str, str | None]], catalog: Catalog
) -> None:
    """The equation of the books: what came in is what is accounted for, in records and in quantity."""
    repaired = repair_frame(records(rows), catalog=catalog, rules=RULES, now=NOW)
    document = counted(repaired).as_json()
    quantities = {key: Decimal(text or 0) for key, text in document["quantity"].items()}
    parts = [quantities[outcome] for outcome in Outcome]
    stated = [Decimal(text) for text in repaired[QUANTITY].drop_nulls()]
    assert sum(parts) == quantities["records"] == sum(stated)
    assert sum(document[outcome] for outcome in Outcome) == document["records"] == len(rows)
    closed = {
        outcome: sum(counts[outcome] for counts in document["by_code"].values()) for outcome in list(Outcome)[1:]
    }
    assert closed == {outcome: document[outcome] for outcome in list(Outcome)[1:]}


@given(rows=RECORDS, catalog=CATALOGS, cut=st.integers(0, 12))
def test_outcomes_of_parts_add_up_to_those_of_the_whole(
    rows: list[dict[str, str | None]], catalog: Catalog, cut: int
) -> None:
    frame = records(rows)
    head, tail, whole = (
        counted(repair_frame(part, catalog=catalog, rules=RULES, now=NOW))
        for part in (frame[:cut], frame[cut:], frame)
    )
    assert (head + tail).as_json() == whole.as_json()
    assert dict((head + tail).faults) == dict(whole.faults)
    assert dict((head + tail).remedies) == dict(whole.remedies)


@given(
    value=st.text(max_size=20) | ODD_VALUES,
    time=st.text(max_size=20) | ODD_TIMES,
    customer=st.text(max_size=20) | ODD_CUSTOMERS,
    catalog=CATALOGS,
)
def test_what_the_fast_pass_calls_sound_the_full_diagnosis_calls_clean(
    value: str | None, time: str | None, customer: str | None, catalog: Catalog
) -> None:
    """The fast pass decides what is never looked at again."""
    odd = {"payload_value": value, "timestamp": time, "payload_stripe_customer_id": customer}
    frame = records([{**GOOD, **odd}, {**GOOD, "payload_value": value}, {**GOOD, "timestamp": time}])
    standard = circumstances(catalog, RULES, NOW).standard
    sound = mark_sound(frame.lazy(), standard).collect()[SOUND]
    faults = standard.judge(frame).select(first_fault()).to_series()
    assert not any(is_sound and fault for is_sound, fault in zip(sound, faults, strict=True))


def test_the_fast_pass_takes_an_ordinary_record() -> None:
    """Otherwise every record goes the slow way, and nobody notices but the clock."""
    standard = circumstances(CATALOG, RULES, NOW).standard
    assert mark_sound(records([GOOD]).lazy(), standard).collect()[SOUND].all()
