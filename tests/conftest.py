"""What holds for every suite: no test is left out, and hypothesis is no judge of a busy machine."""

import os
import signal

import pytest
from hypothesis import settings

_NOTHING_FAILED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
_LEFT_OUT = ("skipped", "xfailed", "xpassed")

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts a suite with `&` has it ignored
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # So has `nohup`, and what a test starts would inherit it. A handler is not inherited, and keeps the suite going.
    signal.signal(signal.SIGHUP, lambda _signal, _frame: None)

settings.register_profile("here", deadline=None, print_blob=True)
settings.load_profile("here")


def _left_out(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return 0 if reporter is None else sum(len(reporter.stats.get(kind, [])) for kind in _LEFT_OUT)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test proves nothing, so it fails the session; with xdist this runs in the controller."""
    if _left_out(session.config) and session.exitstatus in _NOTHING_FAILED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    count = _left_out(config)
    if count:
        terminalreporter.write_line(
            f"{count} test(s) were skipped or expected to fail. Nothing is left out here: make each one run "
            "or remove it.",
            red=True,
        )
    if given := sorted(name for name in os.environ if name.startswith("BULK_UNVERIFY_TEST_")):
        terminalreporter.write_line(
            f"{', '.join(given)} name brokers that are not ours to end: what does that (`kills_broker`) was NOT RUN"
            " on them.",
            yellow=True,
        )
