"""Windows of validation reports that belong to one failure lead to one case."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table and the index by which a window finds its case."""
    op.create_table(
        "joined_windows",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), nullable=False),
    )
    op.create_index("cases_windows", "cases", ["code", "meter_id", "window_end"])
