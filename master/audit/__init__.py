"""The audit, which compares the ledger with the dataset, and the repair of differences."""
