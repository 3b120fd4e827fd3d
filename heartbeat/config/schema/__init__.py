"""The JSON Schema (draft 7) of a configuration, for editors. The readers beside it decide; a test compares the two."""

from heartbeat.config.schema.whole import configuration_schema

__all__ = ["configuration_schema"]
