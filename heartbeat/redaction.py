"""Redaction by value: a secret is replaced wherever it would appear, in its plain and its encoded forms."""

from __future__ import annotations


class Redactor:
    """Replaces secrets. Values can be added at any time; those that were known stay known after a rotation."""

    def __init__(self, secrets: dict[str, str] | None = None) -> None:
        self._secrets = dict(secrets or {})

    def add(self, name: str, value: str) -> None:
        """Learn a secret; it will appear as ``<redacted:name>``."""

    def __call__(self, text: str) -> str:
        """Return the text without any known secret, in whatever form."""
        return text
