"""An emulator of the service that is crawled: a seeded world, served with the paths, pages, limits and errors of the
real one, and with faults on demand. Worlds, limits and faults are plain objects; only `server` touches sockets."""
