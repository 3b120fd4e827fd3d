"""The tables. All are STRICT; what only we read again as a whole is kept as JSON text."""

from __future__ import annotations

from sqlalchemy import REAL, Column, ForeignKey, Index, Integer, MetaData, Table, Text, text

HEAD = "0005"
"""The revision of these tables: the newest of ``migrations/``."""
OPEN = "state IN ('pending', 'leased')"
"""The deliveries still on their way; written out, because SQLite uses a partial index only for its own words."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True, nullable=False),
    Column("value", Text, nullable=False),
    sqlite_strict=True,
)

# `boot` and `at` order the writes of a status: an entry handed over late must not take back a newer one.
check_status = Table(
    "check_status",
    metadata,
    Column("name", Text, primary_key=True, nullable=False),
    Column("status", Text, nullable=False),
    Column("boot", Integer, nullable=False),
    Column("at", REAL, nullable=False),
    sqlite_strict=True,
)

# `outcome`, `severity`, `reason` and `sentence` are the verdict's; `found` is what the run itself found.
result = Table(
    "result",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", Text, nullable=False),
    Column("check", Text, nullable=False),
    Column("slot", REAL, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started", REAL, nullable=False),
    Column("timeout", REAL, nullable=False),
    Column("at", REAL, nullable=False),
    Column("found", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("severity", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("distorted", Integer, nullable=False),
    Column("reason", Text),
    Column("sentence", Text, nullable=False),
    Column("expected", Text),
    Column("observed", Text),
    Column("duration", REAL, nullable=False),
    Column("lag", REAL, nullable=False),
    Column("dropped", Integer, nullable=False),
    Column("measurements", Text),
    Column("phases", Text),
    Column("evidence", Text),
    Column("findings", Text),
    sqlite_strict=True,
)
Index("result_check", result.c.check, result.c.at)
Index("result_age", result.c.failed, result.c.at)

event = Table(
    "event",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("incident", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("check", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", REAL, nullable=False),
    Column("data", Text, nullable=False),
    sqlite_strict=True,
)
Index("event_check", event.c.check, event.c.at)
Index("event_at", event.c.at)

# `number` is the order of creation. `closes_at` and `sealed_at` say how far its batch is.
delivery = Table(
    "delivery",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("event_id", Text, ForeignKey("event.id", ondelete="CASCADE"), nullable=False),
    Column("incident", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", REAL, nullable=False),
    Column("note", Text, nullable=False),
    Column("lease_boot", Integer),
    Column("batch", Text, nullable=False, server_default=text("''")),
    Column("closes_at", REAL, nullable=False, server_default=text("0")),
    Column("sealed_at", REAL, nullable=False, server_default=text("0")),
    Column("done_at", REAL, nullable=False, server_default=text("0")),
    Column("why", Text, nullable=False, server_default=text("''")),
    sqlite_strict=True,
)
Index("delivery_open", delivery.c.number, sqlite_where=text(OPEN))
Index("delivery_event", delivery.c.event_id)
Index("delivery_incident", delivery.c.incident)

# What was changed at run time: silences, checks that are switched off, maintenance that began by hand. `data` is the
# whole of it as JSON; what has ended stays for the record.
quiet = Table(
    "quiet",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("kind", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", REAL, nullable=False),
    Column("ended", REAL),
    sqlite_strict=True,
)
Index("quiet_open", quiet.c.at, sqlite_where=text("ended IS NULL"))

# The windows of a check as they stood `at` a time, and in `outline` which they are; what came later is taken from its
# results. `seen` is the newest result of all then: after the clock was set back, times do not tell what came later.
window = Table(
    "window",
    metadata,
    Column("check", Text, primary_key=True, nullable=False),
    Column("outline", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", REAL, nullable=False),
    Column("seen", Integer, nullable=False),
    sqlite_strict=True,
)

# What was marked as a deployment; `data` is the whole of it as JSON.
deployment = Table(
    "deployment",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("name", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", REAL, nullable=False),
    Column("ended", REAL),
    sqlite_strict=True,
)
Index("deployment_at", deployment.c.at)

# What a check remembers from run to run, by its own choice; `data` is JSON that only its plugin understands.
memory = Table(
    "memory",
    metadata,
    Column("check", Text, primary_key=True, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", REAL, nullable=False),
    sqlite_strict=True,
)
