"""A part of a plan has one worker at a time, and the workers that died over it are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate forward."""
    op.add_column("plan_parts", sa.Column("lease_owner", sa.Text()))
    op.add_column("plan_parts", sa.Column("lease_until", sa.String(27)))
    op.add_column("plan_parts", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
