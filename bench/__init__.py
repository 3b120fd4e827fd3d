"""What Heartbeat costs beside the tools that do the same work: `make bench`."""
