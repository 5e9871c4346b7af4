"""Work that comes from a message queue: what is in a message, and who takes it apart and accounts for it."""

from worker.queueing.cap import HourlyCap, OwnRowCount
from worker.queueing.desk import Desk, Terms
from worker.queueing.findings import DeadLetter, FoundRow, decode_found, decode_letter
from worker.queueing.messages import MOST_ROWS, ParsedRow, compose, parse, schema

__all__ = [
    "MOST_ROWS",
    "DeadLetter",
    "Desk",
    "FoundRow",
    "HourlyCap",
    "OwnRowCount",
    "ParsedRow",
    "Terms",
    "compose",
    "decode_found",
    "decode_letter",
    "parse",
    "schema",
]
