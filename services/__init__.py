"""Who listens, and the emulator of the services that are crawled."""
