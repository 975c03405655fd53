"""The decisions of a master, one object at a time: no socket, no clock, no Redis where the claim needs none."""
