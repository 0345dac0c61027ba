"""An account's submissions take turns, so that none is intended on what another has just made untrue."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forward."""
    op.create_table(
        "submission_turns",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True),
        sa.Column("submission_id", sa.Text(), sa.ForeignKey("submissions.id"), nullable=False),
    )
