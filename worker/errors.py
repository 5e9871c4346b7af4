"""Every error that a person may get to see. Each message says what happened, where, and what to do.

A row's failure is never one of these: it is a value (`worker.model.Verdict`), recorded in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self


class BulkUnverifyError(Exception):
    """The base of all expected failures; the command line prints its message and exits with its code."""

    exit_code = 2
    details: Mapping[str, object] = MappingProxyType({})
    """What `--json` tells besides the message."""


class UsageError(BulkUnverifyError):
    """The command was asked for something it cannot do (a bad flag, an unknown run)."""


class ConfigurationError(BulkUnverifyError):
    """A setting is missing or wrong: tenant, key, proxy, certificate, a host that does not exist."""


class InputError(BulkUnverifyError):
    """The input file as a whole cannot be read as a batch. One bad row never raises this."""


class WarnedError(InputError):
    """The input was warned of, and `--strict` lets no such input pass."""

    def __init__(self, message: str, details: Mapping[str, object]) -> None:
        super().__init__(message)
        self.details = details


class RunBusyError(BulkUnverifyError):
    """Another process owns this run, or another run is calling the same tenant from this machine."""


class LedgerError(BulkUnverifyError):
    """The ledger could not be read or written (full disk, broken file). Nothing false was recorded."""

    exit_code = 3


class OutputError(BulkUnverifyError):
    """Standard output took no answer (a full disk). The code is EX_IOERR: it says nothing of any row."""

    exit_code = 74

    @classmethod
    def because(cls, error: OSError) -> Self:
        """Return the error of a stream that cannot be written."""
        return cls(
            f"Standard output cannot be written: {error.strerror}. What was done is on disk: see `status`."
        )


class ReportError(BulkUnverifyError):
    """A report could not be written. The ledger holds what was done; the report can be written again."""

    exit_code = 3


class BrokerError(BulkUnverifyError):
    """The message broker cannot be reached or refuses. What was taken from it is delivered again."""

    exit_code = 3


class BrokerUnfitError(BrokerError):
    """The broker answers, and as it is set up it would lose what it is given, or cannot do what is asked of it."""

    exit_code = 2


def cause_of(error: BaseException) -> BaseException:
    """Return what is to be told of an error: of several at once, one that has a sentence for people."""
    if isinstance(error, BaseExceptionGroup):
        error = error.subgroup(BulkUnverifyError) or error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
