"""The ledger's claims, on an embedded Valkey and on Debian's Redis: one atomic step, fenced, small, alike on both."""
