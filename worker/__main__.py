"""`bulk-unverify` and `python -m worker`."""

from __future__ import annotations

import os
import signal
import sys

# Nothing else is imported before `main` heeds the signals: control-C meanwhile would show a traceback.


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us ignores it
        signal.signal(signal.SIGINT, _leave)
    _open_closed_streams()
    from worker.cli.app import app

    app(prog_name="bulk-unverify")


def _leave(_number: int, _frame: object) -> None:
    """End at once: nothing has begun yet, or all has ended. In between, a command has handlers of its own."""
    os._exit(130)


def _open_closed_streams() -> None:
    """Put the null device where a standard stream is closed (`<&-`).

    Python has None there, and the next file to be opened, the ledger for one, would take the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for good


if __name__ == "__main__":
    main()
