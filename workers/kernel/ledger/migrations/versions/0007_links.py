"""A chain over the whole ledger. What was written before it stands in it as one link a case."""

import sqlalchemy as sa
from alembic import op

from workers.kernel.ledger.links import extend

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forward."""
    op.create_table(
        "links",
        sa.Column("lane", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
    )
    written = sa.text("SELECT id, version, head FROM cases WHERE version > 0 ORDER BY opened_at, id")
    for case_id, version, head in op.get_bind().execute(written).all():
        extend(op.get_bind(), case_id, version, head)
