"""Every error that a person may get to see. Each message says what happened, where, and what to do.

A row's failure is never one of these: it is a value (`worker.model.Verdict`), recorded in the ledger.
"""


class BulkUnverifyError(Exception):
    """The base of all expected failures; the command line prints its message and exits with its code."""

    exit_code = 2


class UsageError(BulkUnverifyError):
    """The command was asked for something it cannot do (a bad flag, an unknown run)."""


class ConfigurationError(BulkUnverifyError):
    """A setting is missing or wrong: tenant, key, proxy, certificate, a host that does not exist."""


class InputError(BulkUnverifyError):
    """The input file as a whole cannot be read as a batch. One bad row never raises this."""


class RunBusyError(BulkUnverifyError):
    """Another process owns this run, or another run is calling the same tenant from this machine."""


class LedgerError(BulkUnverifyError):
    """The ledger could not be read or written (full disk, broken file). Nothing false was recorded."""

    exit_code = 3


class ReportError(BulkUnverifyError):
    """A report could not be written. The ledger holds what was done; the report can be written again."""

    exit_code = 3
