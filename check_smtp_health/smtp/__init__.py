"""SMTP as bytes and rules. Nothing in this room opens a socket, reads a clock or logs."""
