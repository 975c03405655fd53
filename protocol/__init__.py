"""What every process agrees on: jobs, messages, settings, sockets, errors. Imports none of the other floors."""
