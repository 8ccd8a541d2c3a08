"""What a check costs, beside its peers and its own imports, and how right its times are."""
