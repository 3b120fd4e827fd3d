"""What checks remember."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "memory",
        sa.Column("check", sa.Text, primary_key=True, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", sa.REAL, nullable=False),
        sqlite_strict=True,
    )
