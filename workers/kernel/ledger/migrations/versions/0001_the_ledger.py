"""The ledger as first released."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forward."""
    op.create_table(
        "cases",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False, unique=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("meter_id", sa.Text()),
        sa.Column("event_name", sa.Text()),
        sa.Column("import_set_id", sa.Text()),
        sa.Column("window_start", sa.Text()),
        sa.Column("window_end", sa.Text()),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("balance", sa.JSON(), nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", sa.String(27)),
        sa.Column("due_at", sa.String(27)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("trouble", sa.Text()),
        sa.Column("alerted", sa.Text()),
        sa.Column("opened_at", sa.String(27), nullable=False),
        sa.Column("changed_at", sa.String(27), nullable=False),
    )
    op.create_index("cases_due", "cases", ["due_at"])
    op.create_index("cases_state", "cases", ["state", "changed_at"])

    op.create_table(
        "checkpoints",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("object_id", sa.Text()),
        sa.Column("created_at", sa.String(27)),
        sa.Column("received_at", sa.String(27), nullable=False),
        sa.Column("raw", sa.LargeBinary()),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False, server_default="delivered"),
        sa.Column("large", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("due_at", sa.String(27)),
    )
    op.create_index("events_due", "events", ["state", "due_at"])
    op.create_index("events_received", "events", ["received_at"])

    op.create_table(
        "entries",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_bucket", sa.Text()),
        sa.Column("to_bucket", sa.Text()),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("record_set", sa.Text()),
        sa.Column("record_set_sha256", sa.String(64)),
        sa.Column("submission_id", sa.Text()),
        sa.Column("event_id", sa.Text()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "submissions",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("location", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("event_names", sa.JSON(), nullable=False),
        sa.Column("record_set", sa.Text(), nullable=False),
        sa.Column("record_set_sha256", sa.String(64), nullable=False),
        sa.Column("import_set_id", sa.Text()),
        sa.Column("verdict", sa.Text()),
        sa.Column("intended_at", sa.String(27), nullable=False),
        sa.Column("sent_at", sa.String(27)),
        sa.Column("confirm_at", sa.String(27)),
    )
    op.create_index("submissions_case", "submissions", ["case_id"])
    op.create_index("submissions_state", "submissions", ["state", "confirm_at"])

    op.create_table(
        "submission_chunks",
        sa.Column("submission_id", sa.Text(), sa.ForeignKey("submissions.id"), primary_key=True),
        sa.Column("undo_id", sa.Text(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("result", sa.JSON()),
        sa.Column("intended_at", sa.String(27), nullable=False),
        sa.Column("finished_at", sa.String(27)),
        sa.Column("first", sa.BigInteger()),
        sa.Column("records", sa.BigInteger()),
        sa.Column("withheld", sa.JSON()),
        sa.Column("verdict", sa.JSON()),
    )
    op.create_table(
        "submission_turns",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True),
        sa.Column("submission_id", sa.Text(), sa.ForeignKey("submissions.id"), nullable=False),
    )

    op.create_table(
        "links",
        sa.Column("lane", sa.Integer(), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True),
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
