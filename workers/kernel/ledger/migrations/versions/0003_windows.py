"""Windows of validation reports that belong to one failure lead to one case; kinds of faults that were refused."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables, and the index by which a window finds its case."""
    op.create_table(
        "joined_windows",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), nullable=False),
    )
    op.create_index("cases_windows", "cases", ["code", "meter_id", "window_end"])
    op.create_table(
        "fault_kinds",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.String(27), nullable=False),
        sa.Column("struck", sa.Text()),
    )
