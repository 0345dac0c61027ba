"""`metermend prove`: recompute the ledger and say whether it holds."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from workers.cli.open_ledger import open_stores
from workers.kernel.clock import to_text, utc_now
from workers.kernel.equation import lines, terms
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.journal import Balance
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.audit.anchor import Anchor, read, take
from workers.pipeline.audit.prove import CaseProof
from workers.pipeline.audit.prove import prove as prove_cases
from workers.pipeline.audit.record_trail import Breach
from workers.pipeline.desk.traces import ACT, WHY
from workers.records.quantities import to_text as plain


@dataclass
class Proved:
    """What was found over all cases; only what a person must see of each is kept."""

    balance: Balance = field(default_factory=Balance)
    cases: int = 0
    entries: int = 0
    record_sets: int = 0
    breached: list[tuple[str | None, Breach]] = field(default_factory=list)
    removed: list[tuple[str | None, datetime]] = field(default_factory=list)
    erased: list[tuple[str | None, EntryRow]] = field(default_factory=list)

    def add(self, proof: CaseProof) -> None:
        self.balance += proof.balance
        self.cases += proof.case_id is not None
        self.entries += proof.entries
        self.record_sets += proof.record_sets
        self.breached += [(proof.case_id, proof.breach)] if proof.breach else []
        self.removed += [(proof.case_id, proof.removed_at)] if proof.removed_at else []
        self.erased += [(proof.case_id, erasure) for erasure in proof.erasures]

    @property
    def holds(self) -> bool:
        return not self.breached and self.balance.holds()


@dataclass(frozen=True)
class _Compared:
    """A kept anchor that the ledger was compared with, and how much of the ledger it covers."""

    path: str
    anchor: Anchor
    proved: Proved

    @property
    def entries(self) -> int:
        return sum(head.number for head in self.anchor.cases.values())

    def as_json(self) -> dict[str, Any]:
        return {"file": self.path, "at": to_text(self.anchor.at), "cases": len(self.anchor.cases),
                "entries": self.entries, "events_until": to_text(self.anchor.events_until)}  # fmt: skip

    def as_text(self) -> Iterator[str]:
        proved, at = self.proved, to_text(self.anchor.at)
        yield f"compared with {self.path} of {at}:"
        events = sum(day.count for day in self.anchor.events.values())
        cases = f"{len(self.anchor.cases):,} of {proved.cases:,} cases"
        yield f"  covers {cases}, {self.entries:,} of {proved.entries:,} entries, {events:,} events;"
        yield "  what was written later it cannot show"


@click.command()
@click.argument("case", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--anchor", "anchors", is_flag=True, help="Print an anchor; the rest goes to stderr.")
@click.option("--against", type=click.Path(dir_okay=False, path_type=Path), help="Compare with a kept anchor.")
def prove(case: str | None, *, as_json: bool, anchors: bool, against: Path | None) -> None:
    """Recompute the equation, the hash chain and the record sets of CASE, or of the whole ledger.

    Exit code 1 when something does not hold; each such case is named with the first thing that does not. An anchor
    says what the ledger holds now. Kept elsewhere and compared later, it shows what was altered or removed since,
    also by somebody who computed every hash anew.
    """
    if case and (anchors or against):
        raise InputUnusable("is about the whole ledger", where="--anchor" if anchors else "--against")
    kept = read(against) if against else None
    ledger, archive = open_stores()
    anchor = take(ledger, utc_now()) if anchors else None
    proved = Proved()
    for proof in prove_cases(ledger, archive, case, against=kept):
        proved.add(proof)
    ledger.close()
    compared = _Compared(str(against), kept, proved) if against and kept else None
    told = json.dumps(_as_json(proved, compared), indent=2) if as_json else "\n".join(_as_text(proved, compared))
    click.echo(told, err=anchors)
    if anchor:
        click.echo(anchor.model_dump_json(indent=2))
    if not proved.holds:
        raise click.exceptions.Exit(1)


def _as_json(proved: Proved, compared: _Compared | None) -> dict[str, Any]:
    sides = {"failed": proved.balance.failed} | {name.replace(" ", "_"): t for name, t in terms(proved.balance)}
    return {
        "holds": proved.holds,
        "cases": proved.cases,
        "entries": proved.entries,
        "record_sets": proved.record_sets,
        "equation": {name: {"records": t.records, "quantity": plain(t.quantity)} for name, t in sides.items()},
        "breaches": [{"case": case, "entry": of.entry, "what": of.what} for case, of in proved.breached],
        "removed": [{"case": case, "at": to_text(at)} for case, at in proved.removed],
        "erased": [
            {
                "case": case,
                "entry": said.number,
                "at": to_text(said.at),
                "by": said.actor,
                "act": said.detail[ACT],
                "records": said.records,
            }
            for case, said in proved.erased
        ],
        **({"compared": compared.as_json()} if compared else {}),
    }


def _as_text(proved: Proved, compared: _Compared | None) -> Iterator[str]:
    yield from lines(proved.balance)
    yield ""
    for case, removed_at in proved.removed:
        yield f"{case}: record sets retained until {removed_at:%Y-%m-%d}; proved by its entries"
    for case, said in proved.erased:
        by = f"{said.actor} ({said.detail[ACT]}: {said.detail[WHY]})"
        yield f"{case}: a customer was erased on {said.at:%Y-%m-%d} by {by}; quantities and digests stayed"
    for case, breach in proved.breached:
        at = f" entry {breach.entry}:" if breach.entry else ""
        yield f"{case or 'ledger'}:{at} {breach.what}"
    counted = f"{proved.cases:,} cases, {proved.entries:,} entries, {proved.record_sets:,} record sets"
    if compared:
        yield from compared.as_text()
    yield f"holds: {counted}" if proved.holds else f"DOES NOT HOLD, {len(proved.breached):,} times: {counted}"
