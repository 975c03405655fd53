"""`tmatic-lookup`: maps an id or a screen name to a profile, for every account that a crawl has seen."""
