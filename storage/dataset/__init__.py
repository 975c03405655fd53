"""The dataset: what a crawl brought, whichever backend keeps it."""
