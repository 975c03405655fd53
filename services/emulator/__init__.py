"""An emulator of the crawled service: a seeded world, served with the paths, pages, limits and errors of the real
service, and with faults on demand. Worlds, limits and faults are plain objects; only `server` uses sockets."""
