"""Servers that misbehave on request, for the tests of the daemon, of plugins, and for the demo."""
