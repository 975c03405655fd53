"""The indexer: engines that answer alike, commits that survive, and an end state that equals the dataset."""
