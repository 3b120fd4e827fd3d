"""The first schema: statuses, results, events, deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    _meta_and_statuses()
    _results()
    _events()
    _deliveries()


def _meta_and_statuses() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "check_status",
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("boot", sa.Integer, nullable=False),
        sa.Column("at", sa.REAL, nullable=False),
        sqlite_strict=True,
    )


def _results() -> None:
    op.create_table(
        "result",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("check", sa.Text, nullable=False),
        sa.Column("slot", sa.REAL, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started", sa.REAL, nullable=False),
        sa.Column("timeout", sa.REAL, nullable=False),
        sa.Column("at", sa.REAL, nullable=False),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("distorted", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("expected", sa.Text),
        sa.Column("observed", sa.Text),
        sa.Column("duration", sa.REAL, nullable=False),
        sa.Column("lag", sa.REAL, nullable=False),
        sa.Column("dropped", sa.Integer, nullable=False),
        sa.Column("measurements", sa.Text),
        sa.Column("phases", sa.Text),
        sa.Column("evidence", sa.Text),
        sa.Column("findings", sa.Text),
        sqlite_strict=True,
    )
    op.create_index("result_check", "result", ["check", "at"])
    op.create_index("result_age", "result", ["failed", "at"])


def _events() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("incident", sa.Text, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("check", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", sa.REAL, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("event_check", "event", ["check", "at"])
    op.create_index("event_at", "event", ["at"])


def _deliveries() -> None:
    op.create_table(
        "delivery",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("event_id", sa.Text, sa.ForeignKey("event.id", ondelete="CASCADE"), nullable=False),
        sa.Column("incident", sa.Text, nullable=False),
        sa.Column("receiver", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.REAL, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("lease_boot", sa.Integer),
        sqlite_strict=True,
    )
    op.create_index("delivery_open", "delivery", ["number"], sqlite_where=sa.text("state IN ('pending', 'leased')"))
    op.create_index("delivery_event", "delivery", ["event_id"])
    op.create_index("delivery_incident", "delivery", ["incident"])
