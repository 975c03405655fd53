"""A search index of the posts that a crawl stored, in one of three engines with the same answers."""
