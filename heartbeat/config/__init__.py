"""Configuration: models, loading with line numbers, secrets."""
