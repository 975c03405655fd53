"""The monitor: the page that people keep open while a crawl runs."""
