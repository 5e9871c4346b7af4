"""What this process asks of the system: that no core dump holds the key, and files enough for its connections."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_BESIDES: Final = 40
"""Files that are open besides the tenant's connections: ledger, log, reports, a broker, whoever asks for metrics."""


def forbid_core_dumps() -> None:
    """See to it that no crash, and no SIGQUIT, writes the memory with the key in it to a disk (promise 8).

    The limit alone does not hold where the kernel pipes cores to a program, such as systemd-coredump.
    Source: core(5), PR_SET_DUMPABLE(2const).
    """
    with contextlib.suppress(ValueError, OSError):  # lower it already is, and may not even be set
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def room_for(connections: int) -> tuple[int, str]:
    """Return how many of `connections` fit the limit of open files, raised if it can be, and what to tell of it.

    Without room, a connection fails that the tenant has nothing to do with, and so does what is to be recorded.
    """
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _BESIDES
    if before == resource.RLIM_INFINITY or before >= needed:
        return connections, ""
    limit = needed if most == resource.RLIM_INFINITY else min(needed, most)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    except (ValueError, OSError):  # macOS has another limit that it does not tell
        limit = before
    if limit >= needed:
        return (
            connections,
            f"Raised the limit of open files from {before} to {limit}, for {connections} connections.",
        )
    allowed = max(1, limit - _BESIDES)
    return allowed, (
        f"No more than {limit} files may be open, too few for --concurrency {connections}: {allowed} calls in"
        f" flight at most. To have all, raise the hard limit (`ulimit -Hn`, LimitNOFILE= of systemd) to {needed}."
    )
