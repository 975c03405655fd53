"""The command lines of the master."""
