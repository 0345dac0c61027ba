"""A case as JSON, for scripts: quantities and money are exact decimal text, times RFC 3339."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from workers.kernel.clock import to_text
from workers.kernel.equation import terms
from workers.kernel.ledger.appraisal import at_risk, lost_by
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Tally
from workers.kernel.money import to_json
from workers.pipeline.view.case_view import CaseView


def case_json(view: CaseView) -> dict[str, Any]:
    """Return all that is shown of a case."""
    of = view.case
    tallies = {"failed": of.balance.failed, **dict(terms(of.balance))}
    return {
        "case": of.id,
        "title": view.title,
        "state": of.state,
        "trouble": of.trouble,
        "since": to_text(view.since),
        "opened_at": to_text(of.opened_at),
        "changed_at": to_text(of.changed_at),
        **money_json(of),
        "failure": asdict(of.failure),
        "records": {name: tally.records for name, tally in tallies.items()},
        "quantities": by_meter_json(view.by_meter),
        "unconfirmed": view.unconfirmed,
        "found": dict(of.balance.found),
        "reasons": [
            {"reason": slug, "records": records, **asdict(reason)}
            for slug, (records, reason) in view.reasons.items()
        ],
        "samples": list(map(asdict, view.examples.samples)),
        "changes": list(map(asdict, view.examples.changes)),
        "timeline": [{**asdict(one), "at": to_text(one.at)} for one in view.timeline],
        "acts": [
            {"act": act.id, "actor": act.actor, "why": act.why, "state": act.state, "kind": act.kind,
             "asked_at": to_text(act.asked_at)}
            for act in view.acts
        ],
        "events": list(view.events),
        "files": dict(view.files),
        "next_step": view.next_step,
        "commands": [command for command, _ in view.commands],
        "note": view.note,
    }  # fmt: skip


def money_json(of: Case) -> Mapping[str, Any]:
    """Return what a case puts at risk as exact decimal text, by when, and why then."""
    return {
        "deadline": to_text(of.deadline) if of.deadline else None,
        "deadline_because": lost_by(of),
        "invoice_of": of.invoice_of,
        "at_risk": to_json(at_risk(of)),
        "not_known": list(of.lacks or []),
        "customers": list(of.payers or []),
    }


def by_meter_json(by_meter: Mapping[str, Mapping[Any, Tally]]) -> Sequence[Mapping[str, Any]]:
    """Return quantities by meter and bucket as exact decimal text; `meter` is null where none is known."""
    return [
        {
            "meter": name or None,
            "buckets": {
                str(bucket): {"records": tally.records, "quantity": format(tally.quantity, "f") if name else None}
                for bucket, tally in buckets.items()
                if tally.records
            },
        }
        for name, buckets in by_meter.items()
    ]
