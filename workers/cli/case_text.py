"""A case in the words of the terminal: one paragraph after the other."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from workers.cli.moments import span_text
from workers.cli.paragraphs import paragraph, rows
from workers.kernel.counting import counted
from workers.kernel.equation import KNOWN_BY, terms
from workers.kernel.ledger.appraisal import why_lost
from workers.kernel.ledger.case_facts import open_quantities, total_of
from workers.kernel.ledger.examples import Change, Sample
from workers.kernel.ledger.journal import Tally
from workers.kernel.money import written as money_text
from workers.kernel.rounding import rounded_tally
from workers.pipeline.view.case_view import CaseView

_LINES: Final = 30
"""Entries of the journal, and acts, that are shown; `--json` has them all."""
_LONGEST: Final = 60
"""Characters of a cell."""


def paragraphs_of(view: CaseView, width: int | None, now: datetime) -> Iterator[list[str]]:
    """Yield the lines of each part that has something to say, no line of prose wider than `width`."""
    yield from filter(None, map(list, _parts(view, width, now)))


def _parts(view: CaseView, width: int | None, now: datetime) -> Iterator[Iterator[str]]:
    yield _head(view, width)
    yield _next_step(view, width)
    yield _at_risk(view, width, now)
    yield _equation(view, width)
    yield _reasons(view, width)
    yield _codes(view, width)
    yield _timeline(view, width)
    yield _acts(view, width)
    yield _places(view, width)


def _head(view: CaseView, width: int | None) -> Iterator[str]:
    of = view.case
    mode = "live" if of.failure.livemode else "test mode"
    yield from paragraph(view.title, width)
    yield from paragraph(
        ", ".join([of.id, of.state.replace("_", " "), mode, *filter(None, [of.failure.account])]), width
    )


def _next_step(view: CaseView, width: int | None) -> Iterator[str]:
    yield "What to do"
    yield from paragraph(view.next_step, width, indent="  ")
    if view.case.trouble and view.case.due_at:
        yield from paragraph(f"Last try: {view.case.trouble}. It is tried again.", width, indent="  ")
    table = [(f"  {command}", what) for command, what in view.commands]
    widest = max((len(command) + 2 + len(what) for command, what in table), default=0)
    for command, what in table:  # a command stays on its line: it is copied
        if width is None or widest <= width:
            yield f"{command.ljust(max(len(one) for one, _ in table))}  {what}"
        else:
            yield command
            yield from paragraph(what, width, indent="      ")


def _at_risk(view: CaseView, width: int | None, now: datetime) -> Iterator[str]:
    """Yield by when its open usage is lost, and what it is worth."""
    if view.case.deadline is not None:
        left = view.case.deadline - now
        at, why = f"{view.case.deadline:%Y-%m-%d %H:%M} UTC", why_lost(view.case)
        by_when = f"By {at}, in {span_text(left)}" if left.total_seconds() > 0 else f"Since {at}"
        yield from paragraph(f"{by_when}, {why}.", width)
    if view.at_risk:
        yield from paragraph(f"At risk: {money_text(view.at_risk)}.", width)
    for lack in view.lacks:
        yield from paragraph(f"Not known: {lack}.", width, hanging="  ")


def _equation(view: CaseView, width: int | None) -> Iterator[str]:
    balance = view.case.balance
    yield "How the records stand"
    sole = next(iter(view.by_meter)) if len(view.by_meter) == 1 else ""
    signs = [("failed", balance.failed), *_signed(terms(balance))]
    yield from _indented(
        rows(
            [
                ("", "records", *(["quantity"] if sole else [])),
                *(
                    (name, f"{tally.records:,}", *([rounded_tally(tally) if tally.records else ""] if sole else []))
                    for name, tally in signs
                ),
            ],
            width,
            right=(1, 2),
            spill=False,
        )
    )
    if view.unconfirmed:
        yield from paragraph(f"{view.unconfirmed:,} of those in flight are unconfirmed.", width, indent="  ")
    for how, records in balance.found.items():
        yield from paragraph(f"{records:,} {KNOWN_BY[how]}", width, indent="  ", hanging="    ")
    if not sole:
        yield from _meters(view, width)


def _signed(named: Iterator[tuple[str, Tally]]) -> Iterator[tuple[str, Tally]]:
    for number, (name, tally) in enumerate(named):
        yield f"{'+' if number else '='} {name}", tally


def _meters(view: CaseView, width: int | None) -> Iterator[str]:
    open_now = dict(open_quantities(view.by_meter))
    for name, buckets in view.by_meter.items():
        total, still = total_of(buckets), open_now.get(name, Tally())
        said = f"{_cut(name) if name else 'of no known meter'}: {counted(total.records, 'record')}"
        if name:
            said += f", quantity {rounded_tally(total)}"
        if still.records:
            said += f"; {still.records:,} of them open{f', {rounded_tally(still)}' if name else ''}"
        yield from paragraph(said, width, indent="  ", hanging="    ")


def _reasons(view: CaseView, width: int | None) -> Iterator[str]:
    if not view.reasons:
        return
    yield "Why records wait"
    for slug, (records, reason) in view.reasons.items():
        said = f"{records:,} {slug.replace('_', ' ')}: {reason.sentence} {reason.step}"
        yield from paragraph(said, width, indent="  ", hanging="    ")


def _codes(view: CaseView, width: int | None) -> Iterator[str]:
    """Yield what was refused, by code: samples with Stripe's message, and one repair."""
    for number, code in enumerate(view.examples.codes):
        if not number:
            yield "What Stripe refused"
        yield from paragraph(code, width, indent="  ")
        for sample in view.examples.samples:
            if sample.code == code:
                yield from _sample(sample, width)
        change = view.examples.first_change(code)
        if change is not None:
            yield from paragraph(f"mended: {change_text(change)}", width, indent="    ", hanging="      ")


def _sample(sample: Sample, width: int | None) -> Iterator[str]:
    where = f" ({sample.file}, row {sample.row})" if sample.file and sample.row else ""
    named = _cut(sample.identifier) if sample.identifier else f"record {sample.record}"
    yield from paragraph(f"{named}{where}", width, indent="    ", hanging="      ")
    cells = ", ".join(f"{name} {written(text)}" for name, text in sample.columns.items() if text is not None)
    yield from paragraph(cells, width, indent="      ")
    if sample.message:
        yield from paragraph(f"Stripe: {sample.message}", width, indent="      ")


def change_text(change: Change) -> str:
    """Return a repair in one line: what stood there, and what was put in its place."""
    column = change.column.removeprefix("payload_")
    return f"{column} {written(change.before)} -> {written(change.after)}"


def written(text: str | None) -> str:
    """Return what stands in a cell, in quotes that show its blanks."""
    return "nothing" if text is None else f"'{_cut(text)}'"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _timeline(view: CaseView, width: int | None) -> Iterator[str]:
    if not view.timeline:
        return
    yield "What happened"
    left = len(view.timeline) - _LINES
    if left > 0:
        yield f"  {left:,} earlier entries: --json has them"
    for one in view.timeline[-_LINES:]:
        yield from paragraph(f"{one.at:%m-%d %H:%M} {one.sentence}", width, indent="  ", hanging="    ")


def _acts(view: CaseView, width: int | None) -> Iterator[str]:
    if not view.acts:
        return
    yield "What people decided"
    for act in view.acts[:_LINES]:
        said = (
            f"{act.asked_at:%m-%d %H:%M} {act.actor}: {act.summary}. {act.state.replace('_', ' ')}. Why: {act.why}"
        )
        yield from paragraph(f"{said} ({act.id})", width, indent="  ", hanging="    ")


def _places(view: CaseView, width: int | None) -> Iterator[str]:
    yield "Where to look"
    for event_id in view.events[:_LINES]:
        yield from paragraph(f"metermend events show {event_id}", None, indent="  ")
    for label, place in view.files.items():
        yield from paragraph(f"{label}: {place}", width, indent="  ", hanging="    ")
    yield f"  metermend export {view.case.id}"
    if view.note:
        yield from paragraph(view.note, width, indent="  ")


def _indented(lines: Iterator[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines)
