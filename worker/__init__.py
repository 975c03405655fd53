"""How one job is done: modules, sources, HTTP; `tmatic-worker`."""
