"""Requests to a service: over HTTP, within the allowance, retried where that helps."""
