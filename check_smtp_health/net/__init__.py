"""The world: sockets, clocks, threads. Nothing in this room knows SMTP."""
