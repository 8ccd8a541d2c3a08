"""What a check costs compared with its peers and its own imports, and how right its times are."""
