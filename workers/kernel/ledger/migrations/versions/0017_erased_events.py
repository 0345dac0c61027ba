"""What is left of an event that a customer was erased from: its digest as it was received, and that of its body."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"


def upgrade() -> None:
    """Add the column; nobody was erased before."""
    op.add_column("events", sa.Column("erased", sa.JSON()))
