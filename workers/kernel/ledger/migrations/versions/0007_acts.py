"""What people do, and the rules that they make."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "acts",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.String(27), nullable=False),
        sa.Column("effect", sa.JSON()),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("approvals", sa.JSON(), nullable=False),
        sa.Column("ended_at", sa.String(27)),
        sa.Column("outcome", sa.JSON()),
    )
    op.create_index("acts_subject", "acts", ["subject", "asked_at"])
    op.create_index("acts_state", "acts", ["state", "asked_at"])
    op.create_table(
        "rules",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("act_id", sa.Text(), sa.ForeignKey("acts.id"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("made_at", sa.String(27), nullable=False),
        sa.Column("reverted_at", sa.String(27)),
        sa.Column("reverted_by", sa.Text()),
    )
    op.create_index("rules_key", "rules", ["kind", "key"])
