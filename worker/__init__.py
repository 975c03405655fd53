"""The execution of one job: modules, sources, HTTP; `tmatic-worker`."""
