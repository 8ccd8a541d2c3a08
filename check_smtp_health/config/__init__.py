"""From words to values: what the user may say, and what it means. Reads no network."""
