"""The console's sessions; what the metrics show, kept rather than counted at each look."""

import sqlalchemy as sa
from alembic import op

from workers.kernel.ledger.journal import Balance
from workers.kernel.ledger.links import LANES, lane_of
from workers.kernel.ledger.totals import NO_TOTALS, Totals

revision = "0002"
down_revision = "0001"

STATES = ("open", "done", "ignored", "failed")


def upgrade() -> None:
    """Create the tables, and count what is there."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("ends_at", sa.String(27), nullable=False),
    )
    counts = op.create_table(
        "event_counts",
        sa.Column("lane", sa.Integer(), primary_key=True),
        *(sa.Column(state, sa.BigInteger(), nullable=False) for state in STATES),
    )
    totals = op.create_table(
        "case_totals",
        sa.Column("lane", sa.Integer(), primary_key=True),
        sa.Column("totals", sa.JSON(), nullable=False),
    )
    op.bulk_insert(counts, [{"lane": lane, **row} for lane, row in _events().items()])
    op.bulk_insert(totals, [{"lane": lane, "totals": total.to_json()} for lane, total in _cases().items()])


def _events() -> dict[int, dict[str, int]]:
    counted = {lane: dict.fromkeys(STATES, 0) for lane in range(LANES)}
    for event_id, state in op.get_bind().execute(sa.text("SELECT id, state FROM events")):
        counted[lane_of(event_id)][state if state in STATES else "open"] += 1
    return counted


def _cases() -> dict[int, Totals]:
    cases = sa.table("cases", *map(sa.column, ("id", "state", "version")), sa.column("balance", sa.JSON()))
    totals = dict.fromkeys(range(LANES), NO_TOTALS)
    for row in op.get_bind().execute(sa.select(cases).where(cases.c.version > 0)):
        totals[lane_of(row.id)] += Totals(Balance.from_json(row.balance), {row.state: 1})
    return totals
