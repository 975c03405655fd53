"""Writes, follows and reads a recording."""
