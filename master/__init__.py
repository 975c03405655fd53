"""The decisions of a crawl: the lead, budgets, traversal, dispatch; `tmatic-master` and `tmatic-crawl`."""
