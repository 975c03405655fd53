"""The calls of the emulated service: the caller, the response, and faults on demand."""
