"""Which job goes to which worker, the state of its lease, and how many requests it may send."""
