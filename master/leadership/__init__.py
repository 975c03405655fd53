"""Who leads, how a master takes over, and what it asks of the ledger for that."""
