"""The processes of a crawl on one machine: started, watched, restarted."""
