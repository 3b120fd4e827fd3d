"""Servers of the bench, each a process of its own."""
