"""The documents: what they print runs, and what they link to is there."""
