"""Observers that are ready to use: `opentelemetry` and `prometheus`, an extra each."""
