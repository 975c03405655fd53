"""Sends points to carbon: live, or from a recording."""
