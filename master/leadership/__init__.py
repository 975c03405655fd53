"""Leader election, takeover, and the ledger calls for both."""
