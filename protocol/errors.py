"""The exception hierarchy. Every message is for the person who can act: what happened, to what, and what to do.

A command line turns a `UsageError` into exit code 2 and every other `TmaticError` into exit code 1, each as one
sentence on standard error. Anything else is a bug, and is shown with its traceback.
"""


class TmaticError(Exception):
    """The root: an anticipated failure."""


class UsageError(TmaticError):
    """A flag, a setting or an input file is wrong; the user can correct it."""


class MalformedError(TmaticError):
    """Bytes from outside (a frame, a record, a segment) do not have the required format."""


class OutputError(TmaticError):
    """The output of a command cannot be written: a full disk, a terminal that is gone."""


class LedgerError(TmaticError):
    """The ledger cannot be used at present: unreachable, loading, read-only, out of memory, or not ours."""


class FencedError(LedgerError):
    """Another incarnation has taken the lead, or the ledger was rolled back: this one must stop deciding."""


class DatasetError(TmaticError):
    """The dataset fails: a full disk, a missing segment, a file that differs from its receipt."""
