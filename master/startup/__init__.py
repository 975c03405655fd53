"""The checks before a crawl starts, and opening it."""
