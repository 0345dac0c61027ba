"""Incidents, what of them and of troubles is still to be said, and how much each channel was told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables. Cases that are there join an incident when something changes in them."""
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("opened_at", sa.String(27), nullable=False),
        sa.Column("last_at", sa.String(27), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.JSON()),
        sa.Column("due_at", sa.String(27)),
        sa.Column("over_at", sa.String(27)),
    )
    op.create_index("incidents_key", "incidents", ["key", "last_at"])
    op.create_index("incidents_due", "incidents", ["due_at"])
    op.create_table(
        "incident_cases",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("incident_id", sa.Text(), sa.ForeignKey("incidents.id"), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.JSON(), nullable=False),
    )
    op.create_index("incident_cases_incident", "incident_cases", ["incident_id"])
    op.create_table(
        "troubles",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("trouble", sa.JSON(), nullable=False),
        sa.Column("untold", sa.Integer(), nullable=False),
        sa.Column("noted_at", sa.String(27), nullable=False),
        sa.Column("told_at", sa.String(27)),
    )
    op.create_table(
        "alert_channels",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("updates", sa.JSON(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", sa.String(27)),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("held_until", sa.String(27)),
    )
