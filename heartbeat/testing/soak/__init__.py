"""A soak: the real daemon is killed over and over while checks flap and receivers misbehave, and nothing gets lost."""
