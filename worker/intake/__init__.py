"""Reading input: a file of any usual dialect becomes a stream of numbered, validated rows."""

from worker.intake.options import InputOptions
from worker.intake.protected import load_protected
from worker.intake.stored import digest, spool_stdin
from worker.intake.table import Table, open_table

__all__ = ["InputOptions", "Table", "digest", "load_protected", "open_table", "spool_stdin"]
