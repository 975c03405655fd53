"""Message transport: sockets, keys, authentication, and addresses."""
