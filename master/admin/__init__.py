"""What people and tools ask of a running crawl."""
