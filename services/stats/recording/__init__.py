"""A recording: written, followed and read again."""
