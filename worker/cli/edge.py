"""The outermost layer: no traceback reaches a person, every failure has its exit code."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Final, NoReturn, ParamSpec, TypeVar

import typer

from worker.errors import BulkUnverifyError, OutputError
from worker.hints import DEFAULT_RUNS, typed
from worker.printable import shown

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED: Final = 130
_SIGPIPE: Final = 141
_NOTHING_MORE: Final[Mapping[str, object]] = MappingProxyType({})
_UNEXPECTED: Final = 70
"""EX_SOFTWARE of sysexits.h: a defect of ours, not of the input."""


def answer(app: typer.Typer) -> NoReturn:
    """Carry out the command line's words and exit; with `--json`, mistakes in them are told as an object too."""
    try:
        app(prog_name="bulk-unverify")
    except SystemExit as leaving:
        mistake = leaving.__context__  # typer has shown it on standard error
        if isinstance(mistake, typer.TyperException) and _asks_for_json(sys.argv[1:]):
            _object(mistake.format_message(), mistake.exit_code)
        raise
    except OSError as error:  # a help page that cannot be written
        unheard = OutputError.because(error)
        fail(str(unheard), unheard.exit_code)
    finally:
        _let_go_of_output()
    raise SystemExit(0)


def _asks_for_json(words: list[str]) -> bool:
    flags = words[: words.index("--")] if "--" in words else words
    return "--json" in flags


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that it ends with a sentence and an exit code, whatever is raised in it."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _interruptible():
                return command(*args, **kwargs)
        except BulkUnverifyError as error:
            as_json = bool(kwargs.get("as_json"))
            fail(str(error), error.exit_code, as_json=as_json, details=error.details)
        except KeyboardInterrupt:
            fail(
                "Interrupted. What is on disk is complete; run the same command to resume.",
                INTERRUPTED,
                as_json=bool(kwargs.get("as_json")),
            )
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output went away: nothing more to tell it
            raise SystemExit(_SIGPIPE) from None
        except Exception as error:  # noqa: BLE001 - the last resort: a defect is told without a traceback
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
            runs = kwargs.get("runs")
            look = typed("status", runs_dir=runs if isinstance(runs, Path) else DEFAULT_RUNS)
            fail(
                f"Internal error ({type(error).__name__} at {place}). This is a defect of bulk-unverify."
                f" What is on disk is complete: look at it with `{look}`, and resume by running again.",
                _UNEXPECTED,
                as_json=bool(kwargs.get("as_json")),
            )

    return run


class _Interruption(KeyboardInterrupt):
    """Control-C, or SIGTERM.

    A class of its own, because CPython remembers a plain KeyboardInterrupt that passes through `exec` (making a
    dataclass does) and ends the process by SIGINT for it, although it was caught and another code was asked for.
    """


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Outside of a session (planning, reporting) the signals end the command in good order; it has its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in (signal.SIGINT, signal.SIGHUP):
        if before[number] is signal.SIG_IGN:
            del before[number]  # in the background of a script, or under nohup: it is not meant for us
    try:
        for number in before:
            signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Interruption


def fail(
    message: str, exit_code: int, *, as_json: bool = False, details: Mapping[str, object] = _NOTHING_MORE
) -> NoReturn:
    """Say what went wrong and exit; with `as_json` also as an object on standard output."""
    sys.stderr.write(f"bulk-unverify: {shown(message)}\n")
    if as_json:
        _object(message, exit_code, details)
    raise SystemExit(exit_code)


def _let_go_of_output() -> None:
    """Lose what standard output cannot take, or Python tries once more as it leaves, and exits 120 for it."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _object(message: str, exit_code: int, details: Mapping[str, object] = _NOTHING_MORE) -> None:
    with contextlib.suppress(OSError):  # whoever does not read it has the exit code
        sys.stdout.write(json.dumps({"error": message, **details, "exit_code": exit_code}) + "\n")
        sys.stdout.flush()
