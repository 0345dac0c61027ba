"""A few records of each case, so that its page shows them without opening a record set."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the table. Of a case that is there already, examples are kept when it is next taken in or planned."""
    op.create_table(
        "case_examples",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
    )
