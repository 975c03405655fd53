"""What outlives a process: the ledger (Redis or Valkey) and the dataset. Imports `protocol` only."""
