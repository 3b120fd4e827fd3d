"""Alembic's environment and the revisions, oldest first: r0001, r0002, ..."""
