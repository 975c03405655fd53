"""Tests of the monitor: what it makes of what it hears, who may act, and its pages in a real browser."""
