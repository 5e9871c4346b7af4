"""The operations by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from jobs.emails import UNVERIFY_EMAIL, VERIFY_EMAIL
from worker.ports import Operation

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {operation.name: operation for operation in (UNVERIFY_EMAIL, VERIFY_EMAIL)}
)
"""Every operation that `--operation` takes."""
