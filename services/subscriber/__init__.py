"""What every service that listens is made of: events in their order, each once, whatever is killed or cut meanwhile."""
