"""Requests of users and tools to a running crawl."""
