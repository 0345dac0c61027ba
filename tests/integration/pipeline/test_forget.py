"""Erasing a customer. If these fail, his data stays though he was told that it is gone, or a proof breaks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from fixtures.twin import Twin
from tests.integration.pipeline.loop import Loop, SteeredClock, usage
from workers.kernel.ledger import connect
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.tables import metadata
from workers.pipeline.audit.anchor import take
from workers.pipeline.audit.prove import CaseProof, prove
from workers.pipeline.desk import desk

HIM = "cus_Nadia1815"
ALIAS = "nadia@example.com"


@pytest.fixture
def company(database_url: str, tmp_path: Path) -> Iterator[Loop]:
    """One file of two customers was refused, repaired and billed; of one, a second row went by another name."""
    clock = SteeredClock()
    ledger = connect(database_url, clock)
    (tmp_path / "bucket").mkdir()
    with Twin(bucket=f"file://{tmp_path / 'bucket'}", poll_seconds=1e9) as twin:
        twin.add_meter("api_requests")
        twin.add_customers([HIM, "cus_2"])
        loop = Loop(tmp_path, twin, ledger, clock)
        rows = (
            f"i1,{{t}},api_requests,{HIM},+5",
            "i2,{t},api_requests,cus_2,+7",
            f"i3,{{t}},api_requests,{ALIAS},2",
        )
        loop.upload("day.csv", usage(*rows))
        loop.clock.turn(seconds=15)
        twin.clock.advance(15)
        written = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
        loop.upload(
            "night.csv", usage(f"{HIM}-j1,{written},api_requests,{HIM},9", f"j2,{written},api_requests,cus_2,11")
        )
        yield loop
    ledger.close()


def bill_all(loop: Loop) -> None:
    """Let somebody say who goes by another name, and let all that was refused be billed."""
    rule, _ = desk.ask(
        loop.context, "make_rule", None, {"rule": "customer", "key": ALIAS, "value": HIM}, actor="Ada", why="asked"
    )
    desk.approve(loop.context, rule, "Ada")
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    loop.work()


def asked(loop: Loop, customer: str = HIM) -> Act:
    return desk.ask(loop.context, "forget", None, {"customer": customer}, actor="Ada", why=f"{HIM} asks")[0]


def forget(loop: Loop) -> Act:
    return desk.approve(loop.context, asked(loop), "Ada")


def breaches(loop: Loop) -> list[CaseProof]:
    return [proof for proof in prove(loop.ledger, loop.context.archive) if proof.breach]


def everything_kept(loop: Loop, folder: Path) -> str:
    """All that metermend keeps of the company, as text: rows, files of the archive and of the scratch folder."""
    with loop.ledger.database.read() as connection:
        rows = [repr(row) for table in metadata.sorted_tables for row in connection.execute(sa.select(table))]
    kept = [path for place in ("archive", "scratch") for path in (folder / place).rglob("*") if path.is_file()]
    sets = [pl.read_parquet(path).write_json() for path in kept if path.suffix == ".parquet"]
    database = [path.read_bytes().decode("latin-1") for path in folder.glob("ledger.db*")]
    return "\n".join([*rows, *sets, *(path.read_bytes().decode("latin-1") for path in kept), *database])


def test_of_a_customer_who_asks_for_it_nothing_is_left_and_all_that_was_proved_holds(
    company: Loop, tmp_path: Path
) -> None:
    bill_all(company)
    anchor, balance, billed = take(company.ledger, company.clock()), company.balance, company.billed()
    assert balance[Bucket.CONFIRMED].records == 5
    assert HIM in everything_kept(company, tmp_path)
    done = forget(company)
    assert done.state is ActState.DONE
    left = everything_kept(company, tmp_path)
    assert HIM not in left
    assert ALIAS not in left
    assert "cus_2" in left
    assert list(prove(company.ledger, company.context.archive, against=anchor))
    assert [p.breach for p in prove(company.ledger, company.context.archive, against=anchor) if p.breach] == []
    assert (company.balance, company.billed()) == (balance, billed)


def test_what_is_told_again_of_a_customer_who_was_erased_is_not_billed_twice(company: Loop) -> None:
    """His identifiers are all that says that his usage was sent."""
    bill_all(company)
    forget(company)
    billed, balance = company.billed(), company.balance
    for page in list(company.ledger.events.pages()):
        for event in page:
            company.ledger.events.retry(event.id)
    company.work()
    company.stripe_works()
    company.pass_window()
    assert (company.billed(), company.balance) == (billed, balance)
    assert breaches(company) == []
