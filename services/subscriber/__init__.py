"""The base of every subscriber: events in order, each once, whatever is killed or cut meanwhile."""
