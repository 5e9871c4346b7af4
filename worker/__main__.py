"""`bulk-unverify` and `python -m worker`."""

from __future__ import annotations

import os
import sys

from worker.cli.app import app


def main() -> None:
    """Run the command line."""
    _open_closed_streams()
    app(prog_name="bulk-unverify")


def _open_closed_streams() -> None:
    """Put the null device where a standard stream is closed (`<&-`).

    Python has None there, and the next file to be opened, the ledger for one, would take the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for good


if __name__ == "__main__":
    main()
