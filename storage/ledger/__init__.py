"""The ledger: what must survive of a crawl, in Redis or Valkey, and the server that comes with it."""
