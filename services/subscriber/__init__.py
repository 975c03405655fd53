"""The base of every subscriber: events in order, each exactly once, despite killed processes and cut links."""
