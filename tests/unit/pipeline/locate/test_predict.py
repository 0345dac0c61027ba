"""What Stripe must have refused, held against the twin's own rules. A row too many may be billed twice."""

from datetime import timedelta

import polars as pl
import pytest

from fixtures.twin.validation import Catalog as TwinCatalog
from fixtures.twin.validation import MeterRules, Row, judge
from tests.unit.remedies.frames import EPOCH_NOW, NOW, good, records
from workers.pipeline.fault_kinds import KIND
from workers.pipeline.locate.predict import CERTAIN, PREDICTED, Prediction
from workers.records.catalog import Meter
from workers.records.schema import WRITTEN

METER = Meter("api_calls", id="mtr_1", dimensions=("payload_region",))
EXISTING = ("cus_known", "cus_2")
VALUES = ("1", " 1", "1,5", "x", "1e3", "1234567890123456", "-2.50", "+1", "")
TIMES = (*tuple(str(EPOCH_NOW + ahead) for ahead in (0, 301, -35 * 86400 - 1)), str(EPOCH_NOW * 1000))
CUSTOMERS = ("cus_known", " cus_known", "cus_gone", "")
REGIONS = ("eu", "")


def prediction(meter: Meter | None = METER, **known: object) -> Prediction:
    customers = pl.Series(EXISTING)
    return Prediction(meter, (METER,), NOW, NOW, **{"customers": customers, **known})  # type: ignore[arg-type]


def rows(*changed: dict[str, str | None]) -> pl.DataFrame:
    frame = records([good(**{"event_name": "api_calls", "payload_region": "eu", **changes}) for changes in changed])
    return frame.with_columns(pl.lit(NOW, pl.Datetime("us", "UTC")).alias(WRITTEN))


def twins_word(changes: dict[str, str]) -> str | None:
    """The code under which the twin refuses a row, by rules that were written down without ours."""
    keys = {"payload_stripe_customer_id": "customer", "payload_value": "value", "payload_region": "region"}
    payload = {keys[column]: text for column, text in changes.items() if column in keys and text.strip()}
    catalog = TwinCatalog(
        {"api_calls": MeterRules("mtr_1", True, "customer", "value", ("region",))},
        dict.fromkeys(EXISTING),
        EPOCH_NOW,
        10,
    )
    fault = judge(Row("use-1", int(changes["timestamp"]), "api_calls", payload), catalog)
    return fault.code if fault else None


def test_of_all_faults_of_a_row_the_one_is_predicted_that_stripe_counts() -> None:
    """Counted under another code the row is missing there, and too many here."""
    columns = ("timestamp", "payload_stripe_customer_id", "payload_value", "payload_region")
    matrix = pl.DataFrame({"timestamp": TIMES}).join(pl.DataFrame({columns[1]: CUSTOMERS}), how="cross")
    matrix = matrix.join(pl.DataFrame({columns[2]: VALUES}), how="cross").join(
        pl.DataFrame({columns[3]: REGIONS}), how="cross"
    )
    changed = matrix.to_dicts()
    refused = prediction().refused(rows(*changed).with_columns(pl.int_range(pl.len()).alias("@row")))
    predicted = dict(refused.select("@row", PREDICTED).iter_rows())
    wrong = [
        (changes, predicted.get(number), twins_word(changes))
        for number, changes in enumerate(changed)
        if predicted.get(number) != twins_word(changes)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("changes", "kind", "certain"),
    [
        ({"payload_value": "1,234.5 kWh"}, "meter_event_invalid_value: 9,9.9 a", True),
        ({"payload_value": ""}, "meter_event_value_not_found: missing", True),
        ({"payload_stripe_customer_id": " cus_known"}, "meter_event_customer_not_found: blanks around", True),
        ({"payload_stripe_customer_id": "cus_gone"}, "meter_event_customer_not_found: unknown id", False),
        ({"timestamp": str(EPOCH_NOW * 1000)}, "timestamp_in_future: 13 digits", True),
        ({"timestamp": str(EPOCH_NOW - 36 * 86_400)}, "timestamp_too_far_in_past: 10 digits", True),
    ],
)
def test_a_kind_tells_in_what_way_and_certain_whether_it_could_ever_be_accepted(
    changes: dict[str, str | None], kind: str, certain: bool
) -> None:
    [found] = prediction().refused(rows(changes)).select(KIND, CERTAIN).iter_rows()
    assert found == (kind, certain)


def test_a_time_that_became_too_old_only_after_its_file_was_written_may_have_been_accepted() -> None:
    old = rows({"timestamp": str(EPOCH_NOW - 35 * 86_400 - 60)})
    [found] = prediction().refused(old.with_columns(pl.col(WRITTEN) - timedelta(hours=1)))[CERTAIN]
    assert found is False


def test_rows_that_stripe_lists_for_their_form_are_counted_in_no_report() -> None:
    unread = rows(
        {"timestamp": "2026-11-20T10:00:00Z", "payload_value": "x"}, {"event_name": "", "payload_value": "x"}
    )
    assert prediction().refused(unread).is_empty()


def test_without_a_meter_every_other_name_is_refused_and_no_known_one() -> None:
    named = rows({"event_name": "API_calls"}, {"event_name": "api_calls"}, {"event_name": "nothing"})
    refused = prediction(None).refused(named)
    assert refused[KIND].to_list() == ["no_meter: another spelling", "no_meter: unknown name"]


def test_while_a_meter_was_archived_all_its_rows_were_refused() -> None:
    refused = prediction(archived=True).refused(rows({}, {"payload_value": "x"}))
    assert refused.select(PREDICTED, CERTAIN).rows() == [("archived_meter", False)] * 2
