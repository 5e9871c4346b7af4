"""Work that comes from a message queue: what is in a message, and who takes it apart and accounts for it."""

from worker.queueing.desk import Desk, Terms
from worker.queueing.dispatch import Assignment, Dispatcher
from worker.queueing.findings import DeadLetter, Finder, FoundRow, decode_found, decode_letter
from worker.queueing.messages import MOST_ROWS, Heading, ParsedRow, compose, parse, schema

__all__ = [
    "MOST_ROWS",
    "Assignment",
    "DeadLetter",
    "Desk",
    "Dispatcher",
    "Finder",
    "FoundRow",
    "Heading",
    "ParsedRow",
    "Terms",
    "compose",
    "decode_found",
    "decode_letter",
    "parse",
    "schema",
]
