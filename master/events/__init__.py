"""What was committed, published; and the log of it, read again by those who missed some."""
