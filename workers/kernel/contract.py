"""What crosses Redis: queue names, job paths and job ids. The message is an id; the ledger holds the rest."""

from hashlib import sha256

EVENTS = "events"
"""Queue of events and cases whose work is small."""
FILES = "files"
"""Queue of cases with large files, so that they never stand before small ones."""

PROCESS_EVENT = "workers.jobs.process_event"
ADVANCE_CASE = "workers.jobs.advance_case"
PLAN_PART = "workers.jobs.plan_part"


def job_id(subject: str, attempt: int) -> str:
    """Return the RQ job id of one attempt at an event or case; RQ takes letters, digits, `_` and `-` only."""
    safe = subject if subject.replace("_", "").replace("-", "").isalnum() and subject.isascii() else digest(subject)
    return f"{safe}-{attempt}"


def digest(text: str) -> str:
    """Return 16 hex digits that stand for `text`."""
    return sha256(text.encode()).hexdigest()[:16]
