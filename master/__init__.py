"""Who does what next: the lead, budgets, traversal, dispatch; `tmatic-master` and `tmatic-crawl`."""
