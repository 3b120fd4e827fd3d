"""Batches: what travels in one message, until when others may join, and since when its text is fixed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what waits already travels alone, as it would have."""
    for name, kind, default in (
        ("batch", sa.Text, "''"),
        ("closes_at", sa.REAL, "0"),
        ("sealed_at", sa.REAL, "0"),
        ("done_at", sa.REAL, "0"),
        ("why", sa.Text, "''"),
    ):
        op.add_column("delivery", sa.Column(name, kind, nullable=False, server_default=sa.text(default)))
