"""Which job goes to which worker, what becomes of its lease, and how many requests it may send."""
