"""How messages travel: sockets, keys, who may connect, and where somebody listens."""
