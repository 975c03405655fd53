"""Small deterministic hashes, identical in every process, unlike Python's own `hash`."""

from __future__ import annotations

from hashlib import blake2b

MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(number: int) -> int:
    """Spread a number over 64 bits (the finaliser of splitmix64, by Sebastiano Vigna)."""
    number = (number + GOLDEN) & MASK64
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK64
    return number ^ (number >> 31)


def digest64(*parts: str | int) -> int:
    """A 64-bit hash of strings and numbers; slower than `mix`, but takes any number of either."""
    return int.from_bytes(blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


def share(*parts: str | int) -> float:
    """A number in [0, 1) that depends only on the parts."""
    return digest64(*parts) / (1 << 64)
