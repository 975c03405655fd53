"""The one exception tree. Every error speaks to the person who can act: what happened, to what, what to do now.

A command line turns a `UsageError` into exit code 2 and every other `TmaticError` into exit code 1, each as one
sentence on standard error. Anything else is a bug, and is shown with its traceback.
"""


class TmaticError(Exception):
    """The root: something that was expected to be able to go wrong."""


class UsageError(TmaticError):
    """A flag, a setting or an input file is wrong; the person at the keyboard can mend it."""


class MalformedError(TmaticError):
    """Bytes from outside (a frame, a record, a segment) do not have the shape that they must have."""


class OutputError(TmaticError):
    """What a command says cannot be kept where it goes: a full disk, a terminal that is gone."""


class LedgerError(TmaticError):
    """The ledger cannot be used now: away, loading, read-only, out of memory, or not ours."""


class FencedError(LedgerError):
    """Another incarnation has taken the lead, or the ledger was rolled back: this one must stop deciding."""


class DatasetError(TmaticError):
    """The dataset refuses: a full disk, a missing segment, a file that is not what its receipt says."""
