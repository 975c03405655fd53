"""Publishing of committed events, and reading of their log for subscribers that missed some."""
