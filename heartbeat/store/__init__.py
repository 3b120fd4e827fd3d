"""The store: schema, migrations, and the one thread that writes."""

from heartbeat.store.entry import Entry, Recorded, Remembered, Snapshot
from heartbeat.store.errors import StoreError, StoreFailed
from heartbeat.store.store import Store

__all__ = ["Entry", "Recorded", "Remembered", "Snapshot", "Store", "StoreError", "StoreFailed"]
