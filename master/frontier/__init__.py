"""Which accounts are crawled, in which order, and their sources."""
