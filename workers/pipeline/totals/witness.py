"""A second witness: whether Stripe's total of a customer's day has room for records that it is to have refused.

A record is `proved` refused where Stripe's total is the sum of all others: then it can be sent, and the day is
billed right, even where it is another one of the same amount that was refused. It is `billed` where the total holds
it, or more than the others come to: then a person must look. All else is `unclear`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import polars as pl

from workers.pipeline.context import Context
from workers.pipeline.totals.claimed import AT, WHY_UNCLEAR, pairs_of, read_claimed
from workers.pipeline.totals.our_usage import OurUsage, our_usage
from workers.pipeline.totals.sender_totals import (
    AMOUNT,
    CONTENT,
    DAY,
    DOUBT,
    PAIR,
    Reader,
    by_pair,
    once_each,
    without,
)
from workers.pipeline.totals.stripe_totals import StripeTotals, are_equal, midnight, why_not_comparable
from workers.records.catalog import CUSTOMER_ID, Meter
from workers.records.identifiers import content, is_nameless, lines
from workers.records.quantities import add, to_text
from workers.records.schema import IDENTIFIER, ROW, SOURCE, with_columns_of

WITNESS: Final = "@witness"
PROVED: Final = "proved"
BILLED: Final = "billed"
UNCLEAR: Final = "unclear"
STRIPE_TOTAL: Final = "@stripe_total"
"""Decimal text of what Stripe has counted of the record's customer on its day; null where it was not asked."""
OWN_TOTAL: Final = "@own_total"
"""Decimal text of what it must have counted without any of the claimed records; null where nobody can tell."""
WORDS: Final = (WITNESS, WHY_UNCLEAR, STRIPE_TOTAL, OWN_TOTAL)
"""The columns that the witness adds."""
MAX_CALLS: Final = 500
"""Calls that one question to the witness may cost: one for each customer."""

_WORDS: Final = {AT: pl.UInt32, WITNESS: pl.String, WHY_UNCLEAR: pl.String, STRIPE_TOTAL: pl.String,
                 OWN_TOTAL: pl.String}  # fmt: skip
_ROW_KEY: Final = [SOURCE, ROW]
_TWIN: Final = "another row, or a submission of ours, may tell the same record"
_TINY: Final = "its quantity is nothing, or too small to show in the total"
_BOTH_SIGNS: Final = "the claimed records of its day add and take away: some of them may cancel out"
_DIFFERS: Final = "Stripe has counted less than the sender's other records come to"


def witness(
    context: Context,
    account: str | None,
    meter: Meter,
    claimed: pl.DataFrame,
    rows: Iterable[pl.DataFrame],
    *,
    validated_by: datetime | None = None,
    asked: StripeTotals | None = None,
) -> pl.DataFrame:
    """Return the claimed records, in their order, with `WITNESS` and what it saw. Raises Transient.

    `claimed` and `rows` are canonical frames; `rows` are all that the sender has of the meter on the days of the
    claimed ones, these among them or not. Stripe had validated the claimed ones by `validated_by`; where that is
    not known, by the time at which their file was written (`WRITTEN`). `asked` is given where a piece of work has
    several questions.
    """
    unfit = why_not_comparable(meter)
    if unfit is not None or claimed.is_empty():
        return claimed.with_columns(**_no_word(unfit))
    read = read_claimed(context, account, meter, claimed, validated_by)
    rest = _Rest.without(context, account, meter, read, rows)
    totals = asked or StripeTotals(context, account, MAX_CALLS)
    read = rest.mark_twins(read)
    words = [word for told in _days(read) for word in _judge(meter, told, rest, totals)]
    return _with_words(claimed, read, pl.DataFrame(words, schema=_WORDS, orient="row"))


class _Word(NamedTuple):
    """What is said of one claimed record, in the order of `_WORDS`."""

    at: int
    witness: str
    why: str | None = None
    stripe: str | None = None
    own: str | None = None


class _Day(NamedTuple):
    """The claimed records of a customer's day, and the span of days on which this customer has any."""

    customer: str
    day: date
    first: date
    last: date
    at: list[int]
    amounts: list[Decimal]


class _Rest:
    """What counts beside the claimed records, by customer and day, and which of these have a twin in it."""

    def __init__(self, totals: pl.DataFrame, twins: pl.DataFrame, ours: OurUsage) -> None:
        self._totals = {(c, d): (amount, doubt) for c, d, amount, doubt in totals.iter_rows()}
        self._twins = twins
        self._sent = ours.sent.with_columns(lines(pl.col(IDENTIFIER)))

    @classmethod
    def without(
        cls, context: Context, account: str | None, meter: Meter, read: pl.DataFrame, rows: Iterable[pl.DataFrame]
    ) -> "_Rest":
        reader, pairs = Reader(context, meter), pairs_of(read)
        frames, twins = [reader.nothing()], [read.select(IDENTIFIER, CONTENT).clear()]
        for frame in rows if pairs.height else ():
            there = reader.read(frame).join(pairs, on=PAIR, how="semi")
            frames.append(_but_nameless(there, read))
            twins.append(_twins(frame, read))
        first = pairs[DAY].min() if pairs.height else context.clock().date()
        assert isinstance(first, date)
        ours = our_usage(context, account, reader, midnight(first))
        refused = pl.concat([ours.refused, read.filter(~is_nameless()).select(IDENTIFIER, CONTENT)])
        others = without(once_each(pl.concat(frames)), refused)
        return cls(_ordered(by_pair(pl.concat([others, ours.sent]))), pl.concat(twins), ours)

    def mark_twins(self, read: pl.DataFrame) -> pl.DataFrame:
        """Say of claimed records that another row, or one that we sent, may be the very same."""
        named = pl.col(IDENTIFIER).is_in(self._twins[IDENTIFIER].drop_nulls().implode())
        nameless = is_nameless() & pl.col(CONTENT).is_in(self._twins.filter(is_nameless())[CONTENT].implode())
        sent = lines(pl.col(IDENTIFIER)).is_in(self._sent[IDENTIFIER].implode())
        made = self._sent.filter(pl.col(IDENTIFIER).str.starts_with("mm-"))
        alike = read.filter(is_nameless()).join(made, on=[*PAIR, AMOUNT], how="semi")
        twin = (named | nameless | sent | pl.col(AT).is_in(alike[AT].implode())).fill_null(value=False)
        return read.with_columns(pl.coalesce(WHY_UNCLEAR, pl.when(twin).then(pl.lit(_TWIN))))

    def on(self, customer: str, day: date) -> tuple[Decimal, str | None]:
        """Return the sum of a day, and why it is in doubt."""
        return self._totals.get((customer, day), (Decimal(0), None))


def _but_nameless(rows: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
    """Return rows but for claimed ones without an identifier; those with one go by that and what they say."""
    return rows.join(read.filter(is_nameless()), on=_ROW_KEY, how="anti", maintain_order="left")


def _twins(rows: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
    """Return rows that have a claimed record's identifier and say something else, or have none and say the same."""
    told = with_columns_of(rows, _ROW_KEY).with_columns(content(rows.columns).hash().alias(CONTENT))
    named = told.filter(~is_nameless()).join(read, on=IDENTIFIER, how="semi")
    others = named.join(read, on=[IDENTIFIER, CONTENT], how="anti")
    nameless = told.filter(is_nameless()).join(read.filter(is_nameless()), on=CONTENT, how="semi")
    alike = _but_nameless(nameless, read)
    return pl.concat([frame.select(IDENTIFIER, CONTENT) for frame in (others, alike)])


def _ordered(totals: pl.DataFrame) -> pl.DataFrame:
    return totals.select(*PAIR, AMOUNT, DOUBT)


def _days(read: pl.DataFrame) -> Iterator[_Day]:
    clear = read.filter(pl.col(WHY_UNCLEAR).is_null()).with_columns(
        pl.col(DAY).min().over(CUSTOMER_ID).alias("first"), pl.col(DAY).max().over(CUSTOMER_ID).alias("last")
    )
    grouped = clear.group_by(PAIR, maintain_order=True).agg(pl.col("first", "last").first(), pl.col(AT, AMOUNT))
    for row in grouped.iter_rows():
        yield _Day(*row)


def _judge(meter: Meter, told: _Day, rest: _Rest, totals: StripeTotals) -> Iterator[_Word]:
    """Yield a word for each claimed record of a day."""
    stripe = totals.of(meter, told.customer, told.first, told.last)
    own, doubt = rest.on(told.customer, told.day)
    if stripe.untold is not None:
        yield from (_Word(at, UNCLEAR, stripe.untold) for at in told.at)
        return
    total = stripe.on(told.day)
    seen: dict[str, Any] = {"stripe": to_text(total), "own": None if doubt else to_text(own)}
    for at, amount in zip(told.at, told.amounts, strict=True):
        unclear = doubt or _why_it_does_not_show(own, amount, told.amounts)
        word, why_not = (UNCLEAR, unclear) if unclear else _word(total, own, add(*told.amounts))
        yield _Word(at, word, why_not, **seen)


def _why_it_does_not_show(own: Decimal, amount: Decimal, claimed: list[Decimal]) -> str | None:
    if are_equal(own, add(own, amount)):
        return _TINY
    return _BOTH_SIGNS if min(claimed) < 0 < max(claimed) else None


def _word(total: Decimal, rest: Decimal, claimed: Decimal) -> tuple[str, str | None]:
    if are_equal(total, rest):
        return PROVED, None
    if total > rest or are_equal(total, add(rest, claimed)):
        return BILLED, None
    return UNCLEAR, _DIFFERS


def _no_word(why: str | None) -> Mapping[str, pl.Expr]:
    told = {WITNESS: UNCLEAR, WHY_UNCLEAR: why, STRIPE_TOTAL: None, OWN_TOTAL: None}
    return {name: pl.lit(text, pl.String) for name, text in told.items()}


def _with_words(claimed: pl.DataFrame, read: pl.DataFrame, words: pl.DataFrame) -> pl.DataFrame:
    said = read.select(AT, why=WHY_UNCLEAR).join(words, on=AT, how="left", maintain_order="left")
    why = pl.coalesce(WHY_UNCLEAR, "why")
    return claimed.hstack(said.select(pl.col(WITNESS).fill_null(UNCLEAR), why, STRIPE_TOTAL, OWN_TOTAL))
