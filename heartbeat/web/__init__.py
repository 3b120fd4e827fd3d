"""What is served over HTTP: metrics, health, API."""
