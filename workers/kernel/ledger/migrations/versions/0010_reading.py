"""What lists of cases and events are filtered and sorted by, and the bodies of thin events as fetched."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add columns, names and indexes. What is kept of a case is filled in when it next changes."""
    op.add_column("cases", sa.Column("deadline", sa.String(27)))
    op.add_column("cases", sa.Column("size", sa.Text(), nullable=False, server_default=""))
    op.add_column("cases", sa.Column("meters", sa.JSON()))
    op.add_column("cases", sa.Column("named", sa.Integer(), nullable=False, server_default="0"))
    for column in ("changed_at", "opened_at", "deadline", "size"):
        op.create_index(f"cases_{column.removesuffix('_at')}", "cases", [column])
    op.create_table(
        "case_names",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
    )
    op.create_index("case_names_case", "case_names", ["case_id", "kind"])
    op.execute(
        "INSERT INTO case_names (kind, name, case_id) "
        "SELECT 'meter', event_name, id FROM cases WHERE event_name IS NOT NULL"
    )
    op.add_column("events", sa.Column("fetched", sa.LargeBinary()))
    op.create_index("events_state", "events", ["state", "received_at"])
    op.create_index("events_type", "events", ["type", "received_at"])
    op.create_index("entries_event", "entries", ["event_id"])
