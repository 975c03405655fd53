"""Whether the ledger and the dataset agree, and what is done where they do not."""
