"""Runs against a running service: a demonstration that checks itself, and its data."""
