"""What must hold before a crawl starts, and opening it."""
