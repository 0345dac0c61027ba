"""Erasing a customer, step by step. If these fail, what he asked for is half done, or a hand hides behind it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from tests.books import Book, a_context, some_usage
from tests.conftest import FrozenClock
from workers.archive import Archive
from workers.kernel.errors import InputUnusable, Transient
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger import Ledger, tables
from workers.kernel.ledger.acts import Act, Acts, ActState
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.erasures import Erasures
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.audit.prove import prove
from workers.pipeline.case_facts import facts_of
from workers.pipeline.context import Context
from workers.pipeline.desk import desk
from workers.pipeline.record_sets import DATA, numbered
from workers.pipeline.submit.submitted_index import carried, may_have_carried
from workers.records.schema import CUSTOMER, IDENTIFIER

HIM, OTHER = "cus_Him1", "cus_Him12"


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


def a_book(context: Context, customers: Sequence[str], **failure: Any) -> Book:
    """A case whose records are of these customers, one each; all are billed."""
    book = seen(context, customers, **failure)
    every = range(len(customers))
    book.confirm(every, book.send(every))
    return book


def seen(context: Context, customers: Sequence[str], **failure: Any) -> Book:
    book = Book(context, 0, **failure)
    usage = some_usage(len(customers)).with_columns(pl.Series(CUSTOMER, customers))
    book.frame = numbered(usage, first=0, refused_as=DATA)
    book.move(EntryKind.SEEN, range(len(customers)))
    return book


def asked(context: Context, customer: str = HIM, why: str = "by letter") -> Act:
    return desk.ask(context, "forget", None, {"customer": customer}, actor="Ada", why=why)[0]


def forget(context: Context, customer: str = HIM) -> Act:
    return desk.approve(context, asked(context, customer), "Ada")


def kept(context: Context) -> Iterator[str]:
    """All rows, and all files of the archive, as text."""
    with context.ledger.database.read() as connection:
        for table in tables.metadata.sorted_tables:
            yield from (f"{table.name}: {row!r}" for row in connection.execute(sa.select(table)))
    for path in Path(context.settings.archive_url).rglob("*"):
        if path.is_file():
            yield pl.read_parquet(path).write_json() if path.suffix == ".parquet" else path.read_text("latin-1")


def naming(context: Context, customer: str = HIM) -> list[str]:
    return [text for text in kept(context) if customer in text.replace(OTHER, "")]


def breaches(context: Context) -> list[str]:
    return [proof.breach.what for proof in prove(context.ledger, context.archive) if proof.breach]


def test_nothing_is_erased_while_a_record_of_the_customer_is_not_settled(context: Context) -> None:
    """Money first: what waits of him is never billed once nobody knows whose it is."""
    book = seen(context, [HIM, OTHER, HIM])
    book.move(EntryKind.QUARANTINED, [0])
    book.move(EntryKind.PLANNED, [1, 2])
    with pytest.raises(InputUnusable) as refused:
        asked(context)
    said = str(refused.value)
    assert f"{book.case_id} (1 planned, 1 quarantined)" in said
    assert f"metermend write-off {book.case_id}" in said
    assert HIM not in said


def test_written_off_is_settled(context: Context) -> None:
    book = seen(context, [HIM])
    book.move(EntryKind.QUARANTINED, [0])
    book.move(EntryKind.WRITTEN_OFF, [0])
    assert forget(context).state is ActState.DONE
    assert (naming(context), breaches(context)) == ([], [])


def test_another_customer_of_nearly_the_same_name_keeps_all_of_his(context: Context) -> None:
    book = a_book(context, [HIM, OTHER])
    forget(context)
    rows = [json.loads(text) for text in kept(context) if text.startswith("[")]
    assert {(row[CUSTOMER], row["timestamp"] is None) for one in rows for row in one} == {
        ("erased", True),
        (OTHER, False),
    }
    assert book.balance(Bucket.CONFIRMED) == 2


def test_what_was_sent_of_him_is_known_also_to_whoever_was_about_to_look_it_up(context: Context) -> None:
    """A plan that finds the old files gone would stop, and one that knows nothing of them would bill him twice."""
    book = a_book(context, [HIM, OTHER])
    names = pl.Series(["u0", "u1"])
    submissions = may_have_carried(context, None, IDENTIFIER, names)
    forget(context)
    found = carried(context, submissions, IDENTIFIER, names)
    assert found.rows() == [
        ("u0", 0, f"{book.case_id}-1", book.case_id),
        ("u1", 1, f"{book.case_id}-1", book.case_id),
    ]


@pytest.mark.parametrize("alias", ["unknown", "files", "42", "him@example.com"])
def test_a_name_that_a_rule_gives_him_goes_with_him_and_breaks_no_word_of_ours(
    context: Context, alias: str
) -> None:
    """A quantity of 42, a target called files, a reason called arrival_unknown: the books are full of words."""
    rule, _ = desk.ask(
        context, "make_rule", None, {"rule": "customer", "key": alias, "value": HIM}, actor="Ada", why="agreed"
    )
    desk.approve(context, rule, "Ada")
    book = a_book(context, [HIM, alias, OTHER])
    with book.held() as held, held.transaction() as transaction:
        transaction.know(*facts_of(context, held))
    done = forget(context)
    assert (done.outcome or {})["records"] == 2
    assert context.ledger.acts.get(rule.id).arguments == {"rule": "customer", "key": "erased", "value": "erased"}
    assert context.ledger.rules.history() == []
    assert not [text for text in kept(context) if text.startswith("case_names") and f"'{alias}'" in text]
    rows = [row for text in kept(context) if text.startswith("[") for row in json.loads(text)]
    assert {row[CUSTOMER] for row in rows} == {"erased", OTHER}
    assert (naming(context), breaches(context)) == ([], [])


def test_all_customers_of_one_case_can_be_erased_one_after_the_other(context: Context) -> None:
    a_book(context, [HIM, OTHER, "cus_third"])
    forget(context, OTHER)
    forget(context)
    assert (naming(context), breaches(context)) == ([], [])
    forget(context, "cus_third")
    assert (naming(context, "cus_third"), breaches(context)) == ([], [])
    [proof] = [proof for proof in prove(context.ledger, context.archive) if proof.case_id]
    assert [erasure.actor for erasure in proof.erasures] == ["Ada", "Ada", "Ada"]


def test_a_case_that_is_known_by_the_customer_gets_another_key(context: Context) -> None:
    """An audit's case names him in its key and in its summary, and its chain begins with that key."""
    key, summary = f"audit::mtr_1:{HIM}:2026-11-20", f"Stripe's total of {HIM} differs"
    a_book(context, [HIM], key=key, summary=summary)
    forget(context)
    assert (naming(context), breaches(context)) == ([], [])


def event(context: Context, event_id: str, **body: Any) -> None:
    """Store an event that was worked on."""
    raw = json.dumps({"id": event_id, "object": "event", "livemode": False, "type": "customer.created", **body})
    context.ledger.events.record(replace(read_envelope(raw.encode(), livemode=False), ignored=None))
    context.ledger.events.claim(event_id, "test", timedelta(minutes=1))
    context.ledger.events.finish(event_id, "test", "ignored")  # type: ignore[arg-type]


def test_of_an_event_about_the_customer_nothing_is_left_and_of_any_other_all_but_his_name(context: Context) -> None:
    """That he was created tells his e-mail address and where he lives."""
    event(context, "evt_his", data={"object": {"id": HIM, "object": "customer", "email": "him@example.com"}})
    event(context, "evt_else", data={"object": {"id": "x", "object": "x", "said": f"no such customer: {HIM}"}})
    done = forget(context)
    bodies = {one.id: one.raw for [*found] in context.ledger.events.pages() for one in found}
    assert bodies["evt_his"] is None
    assert b"no such customer: erased" in (bodies["evt_else"] or b"")
    assert set((done.outcome or {})["events"]) == {"evt_his", "evt_else"}
    assert (naming(context), naming(context, "him@example.com"), breaches(context)) == ([], [], [])


def test_a_csv_that_somebody_asked_for_goes_and_evidence_loses_his_lines_only(
    context: Context, tmp_path: Path
) -> None:
    book = seen(context, [HIM, OTHER])
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "failed-records.csv").write_text(f"identifier,customer\nu0,{HIM}\nu1,{OTHER}\nlong-u0,\n")
    (folder / "quarantine.csv").write_text(f"r0,{HIM}\n")
    (folder / "original.csv.gz").write_bytes(b"\x1f\x8bnobody can tell")
    shown = [context.archive.keep(book.case_id, name, folder / f"{name}.csv") for name in ("failed-records",)]
    shown.append(context.archive.keep(book.case_id, "original", folder / "original.csv.gz"))
    context.archive.keep(book.case_id, "quarantine", folder / "quarantine.csv")
    with book.held() as held, held.transaction() as transaction:
        transaction.show(shown)
    book.confirm([0, 1], book.send([0, 1]))
    forget(context)
    texts = {path.name.partition("-")[0]: path for path in Path(context.settings.archive_url).rglob("*.*")}
    assert texts["failed"].read_text() == f"identifier,customer\nerased\nu1,{OTHER}\nlong-u0,\n"
    assert texts["original"].read_text() == "erased\n"
    assert "quarantine" not in texts
    assert breaches(context) == []


def dies(*_: Any, **__: Any) -> Any:
    raise Transient("the process is killed here")


STEPS: dict[str, tuple[type, str]] = {
    "before the old files go": (Archive, "delete"),
    "before all other rows": (Erasures, "erase_others"),
    "before the act ends": (Acts, "end"),
    "before the file is written anew": (Database, "rewrite"),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_was_killed_half_way_is_finished(context: Context, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Half of a customer erased is a promise broken, and nobody looks at it again."""
    for number in range(2):
        a_book(context, [HIM, OTHER], key=f"case {number}")
    event(context, "evt_else", data={"object": {"id": "x", "object": "x", "said": f"no such customer: {HIM}"}})
    act = asked(context)
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], dies)
        with pytest.raises(Transient):
            desk.approve(context, act, "Ada")
    assert breaches(context) == []
    desk.carry_on_open(context)
    ended = context.ledger.acts.get(act.id)
    assert (ended.state, (ended.outcome or {})["records"]) == (ActState.DONE, 2)
    assert (naming(context), breaches(context)) == ([], [])


def test_a_case_that_a_worker_holds_keeps_no_other_and_is_erased_once_it_is_free(context: Context) -> None:
    held_one, free = (a_book(context, [HIM], key=f"case {number}") for number in range(2))
    act = asked(context)
    with held_one.held():
        approved = context.ledger.acts.approve(act, "Ada", needed=1)
        assert desk.settle(context, approved.id) is not None
        kinds = [context.ledger.queries.entries(book.case_id)[-1].kind for book in (held_one, free)]
        assert kinds == [EntryKind.CONFIRMED, EntryKind.ERASED]
    assert desk.settle(context, act.id) is None
    assert (naming(context), breaches(context)) == ([], [])


def test_under_four_eyes_a_second_person_must_agree_and_the_act_does_not_tell_whom(context: Context) -> None:
    context = replace(context, settings=context.settings.model_copy(update={"approvals": 2}))
    book = a_book(context, [HIM])
    act = desk.approve(context, asked(context, why=f"{HIM} asks for it"), "Ada")
    assert (act.state, len(naming(context)) > 0) == (ActState.SHOWN, True)
    done = desk.approve(context, act, "Grace")
    assert (done.arguments, done.why) == ({"customer": "erased"}, "erased asks for it")
    said = context.ledger.queries.entries(book.case_id)[-1]
    assert (said.actor, said.detail["approved_by"], said.detail["act"]) == ("Ada", ["Ada", "Grace"], act.id)
    with pytest.raises(InputUnusable, match="cannot be brought back"):
        desk.take_back(context, done, "Ada")


def test_an_act_that_names_the_customer_is_decided_first(context: Context) -> None:
    """Approved later, it would be done to a mark."""
    a_book(context, [HIM])
    rule = {"rule": "customer", "key": "him", "value": HIM}
    act, _ = desk.ask(context, "make_rule", None, rule, actor="Grace", why="agreed")
    with pytest.raises(InputUnusable, match=f"{act.id}: acts that name this customer wait"):
        asked(context)
    desk.withdraw(context, act, "Grace")
    forget(context)
    assert naming(context) == []


@pytest.mark.parametrize(
    ("customer", "said"), [("", "no customer's id"), ("42", "no customer's id"), ("cus_no", "names")]
)
def test_what_is_nobody_here_is_refused(context: Context, customer: str, said: str) -> None:
    a_book(context, [HIM])
    with pytest.raises(InputUnusable, match=said):
        asked(context, customer)


def run(context: Context, table: sa.Table, kind: str | None, **values: Any) -> None:
    with context.ledger.database.write() as connection:
        where = table.c.kind == kind if kind else sa.true()
        connection.execute(sa.update(table).where(where).values(**values))


def alter_what_is_left(context: Context) -> None:
    run(context, tables.entries, EntryKind.PLANNED, quantity=Decimal(7))


def alter_what_is_said(context: Context) -> None:
    run(context, tables.entries, EntryKind.ERASED, actor="nobody")


def alter_a_body(context: Context) -> None:
    run(context, tables.events, None, raw=b"{}")


def forge_an_erasure(context: Context) -> None:
    with context.ledger.database.write() as connection:
        erased = {"act": "act_1", "digest": "0" * 64, "sha256": None}
        connection.execute(sa.update(tables.events).values(raw=None, erased=erased))


TAMPERINGS: dict[str, tuple[Callable[[Context], None], str]] = {
    "what is left of an entry": (alter_what_is_left, "was altered"),
    "who has erased": (alter_what_is_said, "was altered"),
    "what is left of an event": (alter_a_body, "the body was altered"),
    "an erasure that was none": (forge_an_erasure, "nothing else says so"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_hand_that_hides_behind_an_erasure_is_seen(context: Context, name: str) -> None:
    tamper, said = TAMPERINGS[name]
    a_book(context, [HIM, OTHER])
    event(context, "evt_else", data={"object": {"id": "x", "object": "x", "said": f"no such customer: {HIM}"}})
    forget(context)
    assert breaches(context) == []
    tamper(context)
    assert any(said in what for what in breaches(context)), breaches(context)
