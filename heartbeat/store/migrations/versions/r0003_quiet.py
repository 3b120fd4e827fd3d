"""Quiet times that people made, and the windows of limits and objectives."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two tables."""
    op.create_table(
        "quiet",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", sa.REAL, nullable=False),
        sa.Column("ended", sa.REAL),
        sqlite_strict=True,
    )
    op.create_index("quiet_open", "quiet", ["at"], sqlite_where=sa.text("ended IS NULL"))
    op.create_table(
        "window",
        sa.Column("check", sa.Text, primary_key=True, nullable=False),
        sa.Column("outline", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", sa.REAL, nullable=False),
        sa.Column("seen", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
