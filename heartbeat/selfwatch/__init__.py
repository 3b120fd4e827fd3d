"""Watching the watcher.

``vitals`` are the checks ``heartbeat.*``, ``watchdog`` looks whether the loop turns, ``deadman`` calls somebody
outside, and ``drill`` tries whether messages would arrive.
"""
