"""The dataset in files."""
