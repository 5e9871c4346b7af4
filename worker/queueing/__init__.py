"""Work that comes from a message queue: what is in a message, and who takes it apart and accounts for it."""

from worker.queueing.assignment import Assignment
from worker.queueing.cap import HourlyCap, OwnRowCount
from worker.queueing.desk import Desk, Terms
from worker.queueing.dispatch import Dispatcher
from worker.queueing.findings import (
    DeadLetter,
    Finder,
    FoundRow,
    UnreadableError,
    dead_letter,
    decode_findings,
    decode_letter,
    letter_of,
    result_of,
)
from worker.queueing.messages import MOST_ROWS, Heading, ParsedRow, compose, fit_reason, parse, schema
from worker.queueing.parts import Packing, pack
from worker.queueing.patience import Patience, is_set_within
from worker.queueing.settler import Keeper

__all__ = [
    "MOST_ROWS",
    "Assignment",
    "DeadLetter",
    "Desk",
    "Dispatcher",
    "Finder",
    "FoundRow",
    "Heading",
    "HourlyCap",
    "Keeper",
    "OwnRowCount",
    "Packing",
    "ParsedRow",
    "Patience",
    "Terms",
    "UnreadableError",
    "compose",
    "dead_letter",
    "decode_findings",
    "decode_letter",
    "fit_reason",
    "is_set_within",
    "letter_of",
    "pack",
    "parse",
    "result_of",
    "schema",
]
