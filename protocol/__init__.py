"""What all processes share: jobs, messages, settings, sockets, errors. Imports none of the other floors."""
