"""`tmatic-lookup`: from an id or a screen name to a profile, for everyone that a crawl has met."""
