"""Protocols of asking, one folder each, found by name."""
