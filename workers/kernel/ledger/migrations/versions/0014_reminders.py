"""How much of a case's time had gone when people were reminded of it."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "reminders",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.String(27), nullable=False),
        sa.Column("told_at", sa.String(27)),
    )
    op.create_index("reminders_told", "reminders", ["told_at"])
