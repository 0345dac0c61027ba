"""A code that Stripe invents tomorrow takes one file and one line: its remedy in the registry is enough."""

from pathlib import Path

import polars as pl
import pytest

from tests.unit.cli.usage import company, run, told
from tests.unit.remedies.frames import NOW, good, records
from workers.kernel.reasons import Reason
from workers.records import timestamps
from workers.records.catalog import Catalog, Meter
from workers.records.schema import CODE, OUTCOME, REASON, SUGGESTION, TIMESTAMP
from workers.remedies import REMEDIES, Remedy, Rules, repair_frame
from workers.remedies.codes import reasons
from workers.remedies.remedy import RepairContext, offer

NEW = "timestamp_not_on_the_minute"
STEP = "Say to which minute it belongs."


def mend(rows: pl.DataFrame, _: RepairContext) -> pl.DataFrame:
    minute = timestamps.epoch_seconds(pl.col(TIMESTAMP)) // 60 * 60
    return offer(rows, TIMESTAMP, ("full_minute", minute.cast(pl.String)))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = Remedy(NEW, "timestamp", Reason("Stripe takes full minutes only.", STEP), mend)
    monkeypatch.setitem(REMEDIES, NEW, remedy)


def test_its_remedy_mends_what_it_can_and_advises_on_the_rest() -> None:
    frame = records([{**good(), TIMESTAMP: time, CODE: NEW} for time in ("1795262301", "1795262340")])
    catalog = Catalog(meters=(Meter("api_calls"),), customers=pl.Series(["cus_known"]))
    repaired = repair_frame(frame, catalog=catalog, rules=Rules(), now=NOW)
    assert repaired[TIMESTAMP].to_list() == ["1795262280", "1795262340"]
    assert repaired[OUTCOME].to_list() == ["repaired", "quarantined"]
    assert repaired[REASON].to_list() == ["full_minute", NEW]
    assert repaired[SUGGESTION].to_list() == [None, "say to which minute it belongs"]


def test_it_is_explained_like_any_other_reason() -> None:
    assert reasons()[NEW].step == STEP


def test_commands_read_it_out_of_a_message_and_repair_by_it(tmp_path: Path) -> None:
    usage = company(tmp_path)
    failed = tmp_path / "failed.csv"
    failed.write_text(
        "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,error_message\n"
        f"a,1795262301,api_calls,cus_1,5,{NEW}: 1795262301\n",
        encoding="utf-8",
    )
    assert f"Stripe refused 1 record: {NEW} 1." in run("check", failed, *told(usage)).stdout
    run("repair", failed, "--out", tmp_path / "out", *told(usage))
    written = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").glob("*.csv"))
    assert f"{NEW}.full_minute" in written
