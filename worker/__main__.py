"""`bulk-unverify` and `python -m worker`."""

from __future__ import annotations

import os
import signal

# Nothing else is imported before `main` heeds the signals: control-C meanwhile would show a traceback.


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us ignores it
        signal.signal(signal.SIGINT, _leave)
    from worker.cli.streams import prepare_streams
    from worker.process import forbid_core_dumps

    forbid_core_dumps()  # before a key is read
    prepare_streams()
    from worker.cli.app import app
    from worker.cli.edge import answer

    answer(app)


def _leave(_number: int, _frame: object) -> None:
    """End at once: nothing has begun yet, or all has ended. In between, a command has handlers of its own."""
    os._exit(130)


if __name__ == "__main__":
    main()
