"""The real monitoring engines."""
