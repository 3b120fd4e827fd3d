"""What Prometheus reads: the daemon's own instruments, and the page of families that is made from the state."""
