"""The emulator, judged by itself, by the files it is given and by a client that others wrote."""
