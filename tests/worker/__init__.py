"""The worker: its modules and sources alone, and whole as a process against a real emulator."""
