"""The dataset: the result of a crawl, in any backend."""
