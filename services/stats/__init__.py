"""`tmatic-stats`: the numbers of a crawl, in a file, in Graphite and for Prometheus; and the replay of a recording."""
