"""Which servers are probed, and how each goes through the stages."""
