"""Files that carry the records of several submissions."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the name of the shared file to chunks. Those that are there have files of their own."""
    op.add_column("submission_chunks", sa.Column("file", sa.Text()))
    op.create_index("submission_chunks_file", "submission_chunks", ["file"])
