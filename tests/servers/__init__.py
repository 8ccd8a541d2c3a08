"""Servers for the tests: misbehaving ones by name, and real ones."""
