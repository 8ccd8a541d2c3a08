"""What DNS and the web say of a server and its domain. No socket, no clock."""
