"""Run by Alembic: migrations use the connection and the transaction of the store that is being opened."""

from alembic import context

from heartbeat.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
