"""What records wait for: customers to be created, meters to be reactivated."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table. What waits already is entered when it is planned again."""
    op.create_table(
        "awaited",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("look_at", sa.String(27), nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
    )
    op.create_index("awaited_name", "awaited", ["name"])
