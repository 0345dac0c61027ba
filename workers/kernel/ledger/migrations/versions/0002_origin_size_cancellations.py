"""Where an event came from, whether its work is large, and the progress of taking usage back."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forward."""
    op.add_column("events", sa.Column("origin", sa.Text(), nullable=False, server_default="delivered"))
    op.add_column("events", sa.Column("large", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "cancellations",
        sa.Column("undo_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("intended_at", sa.String(27), nullable=False),
        sa.Column("finished_at", sa.String(27), nullable=True),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"]),
        sa.PrimaryKeyConstraint("undo_id", "number"),
    )
