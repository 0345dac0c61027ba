"""Metronome on the twin. If these fail, a customer is charged twice there, or usage never reaches an invoice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
import requests

from fixtures.twin import Twin
from fixtures.twin.metronome import INGEST, SEARCH, TOKEN
from fixtures.twin.metronome_book import Metronome
from tests.unit.targets.stripe_double import Kept, outgoing
from workers.kernel.errors import Permanent, Transient
from workers.kernel.reasons import IDENTIFIER_TAKEN, NOT_BILLED_THERE, TOO_OLD_THERE
from workers.targets import Outgoing, Sent
from workers.targets.metronome import MetronomeTarget
from workers.targets.metronome_api import ATTEMPTS, MetronomeApi

RECORDS = 250
USED_AT = 1_795_255_578


@dataclass
class House:
    """Somebody whose usage goes to Metronome, and the clock of both."""

    twin: Twin
    folder: Path
    kept: Kept = field(default_factory=Kept)
    naps: list[float] = field(default_factory=list)
    token: str = TOKEN
    meters: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turn(timedelta(0))
        self.book.aliases = {f"cus_{number}" for number in range(5)}

    @property
    def book(self) -> Metronome:
        return self.twin.world.metronome

    @property
    def target(self) -> MetronomeTarget:
        api = MetronomeApi(self.twin.url, self.token, sleep=self.naps.append)
        return MetronomeTarget(api, lambda: self.meters, clock=lambda: self.kept.now)

    def turn(self, by: timedelta) -> None:
        self.kept.now += by
        self.twin.clock.freeze(self.kept.now.timestamp())

    def send(self, out: Outgoing) -> Sent:
        return self.target.send(out, self.kept)

    def records(self, records: int = RECORDS, **columns: Any) -> Outgoing:
        return outgoing(self.folder, records, **columns)

    def billed(self) -> Decimal:
        return sum(self.book.billed().values(), Decimal(0))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Twin() as twin:
        yield House(twin, tmp_path)


def test_a_record_goes_as_metronome_wants_it(house: House) -> None:
    """A wrong customer or type is usage that matches nothing; a number would lose its last digits."""
    assert house.send(house.records(2)) == Sent("Metronome", accepted=2)
    assert house.book.ingested[1].event == {
        "transaction_id": "id-1~r2", "customer_id": "cus_1", "event_type": "calls",
        "timestamp": "2026-11-21T10:06:18.000000Z", "properties": {"value": "0.10", "region": "eu"},
    }  # fmt: skip


def test_the_customer_is_read_from_the_key_that_its_meter_names(house: House) -> None:
    mapping = {"type": "by_id", "event_payload_key": "team"}
    house.meters = [{"event_name": "calls", "status": "active", "customer_mapping": mapping}]
    house.send(house.records(1, payload_team=pl.lit("cus_4")))
    event = house.book.ingested[0].event
    assert (event["customer_id"], event["properties"]["stripe_customer_id"]) == ("cus_4", "cus_0")


def test_answers_that_are_lost_on_the_way_bill_nothing_twice(house: House) -> None:
    for after in range(3):
        for fault in ({"mode": "cut_after"}, {"mode": "status", "status": 429}, {"mode": "status", "status": 503}):
            house.twin.fail_next(path=INGEST, after=after, **fault)
    out = house.records()
    assert house.send(out).accepted == RECORDS
    assert len(house.book.ingested) > RECORDS, "some came twice"
    assert house.billed() == RECORDS * Decimal("0.10")
    arrived = house.target.arrived(pl.read_parquet(out.record_set))
    assert (len(arrived.counted), arrived.not_counted) == (RECORDS, ())
    assert arrived.proof["processed_by"] == "2026-11-21T12:00:00.000Z"


def test_a_record_that_spoils_its_call_is_refused_and_keeps_no_other_from_going(house: House) -> None:
    nobody = pl.when(pl.col("identifier") == "id-107~r2").then(None).otherwise("payload_stripe_customer_id")
    sent = house.send(house.records(payload_stripe_customer_id=nobody))
    [refused] = sent.refused
    assert (refused.identifier, sent.accepted) == ("id-107~r2", RECORDS - 1)
    assert "customer_id is required" in refused.message
    assert len(house.book.ingested) == RECORDS - 1


def test_what_is_older_than_metronome_takes_waits_for_a_person_and_is_not_sent(house: House) -> None:
    house.turn(timedelta(days=34) - timedelta(hours=3))
    assert house.send(house.records(3)).accepted == 3
    house.turn(timedelta(hours=1))
    sent = house.target.send(house.records(3), Kept(house.kept.now))
    assert {(one.reason, one.tried_before) for one in sent.withheld} == {(TOO_OLD_THERE, False)}
    assert (sent.accepted, len(house.book.ingested)) == (0, 3)


def test_a_chunk_in_doubt_goes_again_for_as_long_as_metronome_knows_its_ids(house: House) -> None:
    """After that the same event counts once more."""
    out = house.records(150, timestamp=pl.lit(str(USED_AT + 20 * 86_400)))
    house.turn(timedelta(days=20))
    house.twin.fail_next("cut_after", path=INGEST, times=ATTEMPTS)
    with pytest.raises(Transient):
        house.send(out)
    house.turn(timedelta(days=30))
    assert house.send(out).accepted == 150
    assert house.billed() == 15

    ahead = house.records(150, timestamp=pl.lit(str(USED_AT + 50 * 86_400 + 43_200)))
    later = Kept(house.kept.now)
    house.twin.fail_next("cut_before", path=INGEST, after=1, times=ATTEMPTS)
    with pytest.raises(Transient):
        house.target.send(ahead, later)
    house.turn(timedelta(days=34) - timedelta(minutes=30))
    later.now = house.kept.now
    sent = house.target.send(ahead, later)
    assert (sent.accepted, len(sent.unresolved), sent.withheld) == (100, 50, ())


def test_a_refusal_of_what_was_tried_before_leaves_it_in_doubt(house: House) -> None:
    """It may have been taken the first time: under another identifier it would be billed twice."""
    house.twin.fail_next("cut_after", path=INGEST)
    house.twin.fail_next("status", path=INGEST, status=400, times=2)
    sent = house.send(house.records(1))
    assert (sent.unresolved, sent.refused) == (("id-0~r2",), ())


def test_only_what_metronome_bills_counts_as_arrived(house: House) -> None:
    out = house.records(
        5, event_name=pl.when(pl.col("identifier") == "id-3~r2").then(pl.lit("x")).otherwise("event_name")
    )
    house.book.event_types, house.book.aliases = {"calls"}, {"cus_0", "cus_2", "cus_3", "cus_4"}
    other = {**_event("id-4~r2", "cus_4"), "properties": {"value": "9"}}
    house.target.api.ingest([other])
    house.send(out)
    records = pl.read_parquet(out.record_set)
    arrived = house.target.arrived(records)
    assert arrived.counted == ("id-0~r2", "id-2~r2")
    assert [(one.identifier, one.reason) for one in arrived.not_counted] == [
        ("id-1~r2", NOT_BILLED_THERE),
        ("id-3~r2", NOT_BILLED_THERE),
        ("id-4~r2", IDENTIFIER_TAKEN),
    ]
    said = [one.advice for one in arrived.not_counted]
    assert ["no customer by cus_1" in said[0], "event type x" in said[1], "Other usage" in said[2]] == [True] * 3
    house.book.aliases.add("cus_1")
    assert house.target.arrived(records).counted == ("id-0~r2", "id-1~r2", "id-2~r2")


def test_what_does_not_show_yet_is_neither_counted_nor_given_up(house: House) -> None:
    house.twin.configure(summary_lag=60.0)
    out = house.records(2)
    house.send(out)
    arrived = house.target.arrived(pl.read_parquet(out.record_set))
    assert (arrived.counted, arrived.not_counted) == ((), ())


def test_a_duplicate_that_is_processed_before_the_first_says_nothing_of_it(house: House) -> None:
    """Held as billed to nobody, it is released and billed a second time after 34 days."""
    out = house.records(1)
    house.send(out)
    (identifier,) = pl.read_parquet(out.record_set)["identifier"]
    first = {"transaction_id": identifier, "is_duplicate": False}
    again = {**first, "is_duplicate": True, "processed_at": "2026-11-21T12:00:00.000Z"}
    target = replace(house.target, api=Shows([again, first]))
    arrived = target.arrived(pl.read_parquet(out.record_set))
    assert (arrived.counted, arrived.not_counted) == ((), ())


def test_a_page_in_the_place_of_metronomes_answer_is_no_answer(house: House) -> None:
    """Taken for one, nothing was sent, and all of it waits 35 days for what never shows."""
    out = house.records(1)
    with patch("requests.Session.post", return_value=a_page()), pytest.raises(Permanent, match="METRONOME_BASE"):
        house.send(out)
    house.send(out)
    assert len(house.book.ingested) == 1


def test_a_token_that_is_refused_is_told_and_never_tried_again(house: House) -> None:
    house.token = "another"
    with pytest.raises(Permanent, match="METRONOME_TOKEN"):
        house.send(house.records(1))
    assert house.naps == []


def test_a_search_that_is_asked_for_too_often_waits_and_asks_again(house: House) -> None:
    house.twin.fail_next("status", path=SEARCH, status=429, times=ATTEMPTS - 1)
    assert house.target.api.search(["id-0~r2"]) == []
    assert len(house.naps) == ATTEMPTS - 1


def test_the_twin_takes_what_metronome_takes_and_tells_what_it_bills(house: House) -> None:
    """What it were more lenient about would be found out by a customer."""
    control = f"{house.twin.url}/_control/metronome"
    requests.post(control, json={"aliases": ["cus_9"]}, timeout=5).raise_for_status()
    for when, taken in (
        ("2026-11-22T11:59:00Z", True),
        ("2026-11-22T12:01:00Z", False),
        ("2026-10-18T11:59:00Z", False),
    ):
        answer = house.target.api.ingest([{**_event(when, "cus_9"), "timestamp": when}])
        assert (answer.error is None) is taken
    assert requests.get(control, timeout=5).json()["billed"] == [
        {"event_type": "calls", "customer": "cus_9", "total": "1"}
    ]


@dataclass
class Shows(MetronomeApi):
    """Metronome, showing this when it is searched."""

    found: list[dict[str, Any]]

    def search(self, transaction_ids: Sequence[str]) -> list[dict[str, Any]]:
        return self.found


def a_page() -> requests.Response:
    """What a proxy that wants a login answers to everything."""
    page = requests.Response()
    page.status_code = 200
    page.raw = BytesIO(b"<!doctype html><title>Sign in</title>")
    return page


def _event(identifier: str, customer: str) -> dict[str, Any]:
    return {
        "transaction_id": identifier, "customer_id": customer, "event_type": "calls",
        "timestamp": "2026-11-21T10:06:18Z", "properties": {"value": "1"},
    }  # fmt: skip
