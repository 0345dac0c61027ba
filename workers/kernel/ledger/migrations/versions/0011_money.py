"""What open usage is worth and by when it is lost, what it costs at Stripe, and what was recovered."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add columns and tables. Cases that are open are appraised at once, as far as their rows tell."""
    for name in ("too_old_at", "invoice_at", "urgent_at", "appraise_at"):
        op.add_column("cases", sa.Column(name, sa.String(27)))
    for name in ("payers", "at_risk", "lacks"):
        op.add_column("cases", sa.Column(name, sa.JSON()))
    for name in ("urgent", "appraise"):
        op.create_index(f"cases_{name}", "cases", [f"{name}_at"])
    op.execute(
        "UPDATE cases SET too_old_at = deadline, appraise_at = changed_at WHERE version > 0 AND state <> 'settled'"
    )
    op.create_table(
        "meter_prices",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("event_name", sa.Text(), primary_key=True),
        sa.Column("formula", sa.Text()),
        sa.Column("prices", sa.JSON(), nullable=False),
        sa.Column("lack", sa.Text()),
        sa.Column("read_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "billing_periods",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("customer", sa.Text(), primary_key=True),
        sa.Column("ends_at", sa.String(27)),
        sa.Column("lack", sa.Text()),
        sa.Column("read_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "recoveries",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("meter", sa.Text(), primary_key=True),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("money", sa.JSON(), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
    )
    op.create_index("recoveries_at", "recoveries", ["at"])
