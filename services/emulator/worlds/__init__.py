"""The worlds that the emulator serves: seeded, from a graph, or from a dataset."""
