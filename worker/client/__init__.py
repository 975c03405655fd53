"""Requests to a service: over HTTP, within the allowance, tried again where that helps."""
