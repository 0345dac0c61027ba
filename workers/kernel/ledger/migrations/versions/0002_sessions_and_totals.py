"""The console's sessions; what the metrics show, kept rather than counted at each look."""

import sqlalchemy as sa
from alembic import op

from workers.kernel.ledger.ledger import recount

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables, and count what is there."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("ends_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "event_counts",
        sa.Column("lane", sa.Integer(), primary_key=True),
        *(sa.Column(state, sa.BigInteger(), nullable=False) for state in ("done", "ignored", "failed")),
    )
    op.create_table(
        "case_totals",
        sa.Column("lane", sa.Integer(), primary_key=True),
        sa.Column("totals", sa.JSON(), nullable=False),
    )
    recount(op.get_bind())
