"""The ledger: the durable state of a crawl, in Redis or Valkey, and the embedded server."""
