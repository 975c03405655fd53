"""The calls of the emulated service: who asks, what is answered, and what goes wrong on demand."""
