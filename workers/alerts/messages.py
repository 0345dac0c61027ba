"""What an alert says: a notice about an incident, trouble that stops the service, or a digest of much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from workers.kernel.ledger.journal import Tally

NONE = Tally()


@dataclass(frozen=True)
class CodeCount:
    """What became of the records that Stripe refused for one code.

    refused = repaired + deferred + quarantined; `confirmed` are those of the repaired that are proven to count.
    """

    code: str
    refused: Tally
    repaired: Tally = NONE
    confirmed: Tally = NONE
    deferred: Tally = NONE
    quarantined: Tally = NONE


@dataclass(frozen=True)
class ReasonCount:
    """Why records wait for a person: the remedy's reason, how many, and the best suggestion there is."""

    code: str
    reason: str
    records: int
    suggestion: str | None = None


@dataclass(frozen=True)
class NextStep:
    """What the reader should do now: a sentence, and the exact command or the console's address, if any.

    `forms` is label -> address of what can be decided in the console.
    """

    sentence: str
    command: str | None = None
    link: str | None = None
    forms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Notice:
    """One incident, as the billing engineer on call needs it: a case, or many of one cause.

    `subject` is the id of its only case, else of the incident. `about` is label -> whom and what it is about, and
    how much of it is open. `oldest_usage` is the time of the oldest record that is not settled yet, and `deadline`
    is when it is lost, for the reason `lost_by`. `files` is label -> place: where the corrected records were put.
    """

    subject: str
    headline: str
    livemode: bool
    account: str | None = None
    cases: int = 1
    codes: Sequence[CodeCount] = ()
    reasons: Sequence[ReasonCount] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    oldest_usage: datetime | None = None
    deadline: datetime | None = None
    lost_by: str = ""
    next_step: NextStep | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """Something that stops metermend itself, e.g. a key without a permission or an event of the wrong mode.

    `about` is as in a Notice, where it is about a case. `alike` counts those that said the same of other subjects
    and are not told by themselves.
    """

    subject: str
    headline: str
    detail: str
    livemode: bool | None = None
    account: str | None = None
    next_step: NextStep | None = None
    alike: int = 0
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Digest:
    """Much in few lines: what was held back, since a channel is told only so much, or a week."""

    headline: str
    lines: Sequence[str]
    next_step: NextStep
    about: str = "held back"


Alert = Notice | Trouble | Digest
