"""The ledger of a run: what is planned, claimed and done, durable before it is known."""

from worker.ledger.additions import add
from worker.ledger.collected import (
    NOT_COLLECTED,
    CollectedRow,
    Collection,
    add_collected,
    known_of,
    open_collected,
    try_collected,
)
from worker.ledger.fold import facts, report_rows, snapshot, verify
from worker.ledger.folder import Binding, PlanSummary, RunFolder
from worker.ledger.inbox import Command, Taken
from worker.ledger.inbox import post as post_command
from worker.ledger.inbox import take as take_commands
from worker.ledger.ledger import RunLedger
from worker.ledger.locks import FileLock, tenant_lock
from worker.ledger.pending import Outlook, foreseen, left_of_retry, pending_rows
from worker.ledger.place import may_be_a_copy, settle_in
from worker.ledger.planned import PlannedRows, planned_rows
from worker.ledger.planning import PlanDraft, remove_stale_drafts, withdraw
from worker.ledger.protection import ListCount
from worker.ledger.schema import PUBLISHED_TO

__all__ = [
    "NOT_COLLECTED",
    "PUBLISHED_TO",
    "Binding",
    "CollectedRow",
    "Collection",
    "Command",
    "FileLock",
    "ListCount",
    "Outlook",
    "PlanDraft",
    "PlanSummary",
    "PlannedRows",
    "RunFolder",
    "RunLedger",
    "Taken",
    "add",
    "add_collected",
    "facts",
    "foreseen",
    "known_of",
    "left_of_retry",
    "may_be_a_copy",
    "open_collected",
    "pending_rows",
    "planned_rows",
    "post_command",
    "remove_stale_drafts",
    "report_rows",
    "settle_in",
    "snapshot",
    "take_commands",
    "tenant_lock",
    "try_collected",
    "verify",
    "withdraw",
]
