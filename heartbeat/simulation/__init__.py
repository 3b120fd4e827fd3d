"""Simulation: the line itself with made-up results on a made-up clock."""

from heartbeat.simulation.play import START, Simulation

__all__ = ["START", "Simulation"]
