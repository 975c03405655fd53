"""`python -m tests.simulation.replay [pair] SEED…`: run seeds of the simulation again and print how each ended."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import redis

from storage.ledger.embedded import EmbeddedValkey
from tests.simulation.cluster import Simulation

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, EmbeddedValkey(Path(folder), "memory") as server:
        client = redis.Redis.from_url(server.start())
        paired = sys.argv[1:2] == ["pair"]
        for seed in map(int, sys.argv[1 + paired :]):
            simulation = Simulation(seed, client, paired=paired)
            simulation.run()
            print(f"seed {seed}: kept every promise, {simulation.now:.1f} virtual seconds, {dict(simulation.coverage)}")
