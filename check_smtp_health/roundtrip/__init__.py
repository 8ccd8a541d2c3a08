"""The message of a round trip, and the mailboxes in which it is looked for."""
