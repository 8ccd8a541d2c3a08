"""Which servers are probed, and the walk through the stages of one of them."""
