"""A chunk knows which rows it is about, what was left out of it, and Stripe's verdict on its file."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forward."""
    op.add_column("submission_chunks", sa.Column("first", sa.BigInteger()))
    op.add_column("submission_chunks", sa.Column("records", sa.BigInteger()))
    op.add_column("submission_chunks", sa.Column("withheld", sa.JSON()))
    op.add_column("submission_chunks", sa.Column("verdict", sa.JSON()))
