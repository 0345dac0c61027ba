"""What stands where in the cases by code and cause, and the indexes of the console's lists and charts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table and the indexes. What stands where in a case is filled in when it next changes."""
    cause = ("bucket", "code", "reason", "meter", "customer")
    op.create_table(
        "standings",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        *(sa.Column(name, sa.Text(), primary_key=True) for name in cause),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
    )
    op.create_index("standings_cause", "standings", list(cause))
    op.create_index("entries_at", "entries", ["at", "from_bucket", "to_bucket", "records"])
    troubled = sa.text("trouble IS NOT NULL")
    columns = ["due_at", "changed_at"]
    op.create_index("cases_trouble", "cases", columns, sqlite_where=troubled, postgresql_where=troubled)
    op.create_index("acts_asked", "acts", ["asked_at"])
    op.create_index("incidents_last", "incidents", ["last_at"])
