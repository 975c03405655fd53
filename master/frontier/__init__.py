"""Which accounts are crawled, in which order, and where they come from."""
