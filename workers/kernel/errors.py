"""Every error that metermend raises on purpose, by what is done about it."""


class MetermendError(Exception):
    """Base of every error that is raised on purpose; its text is fit to be shown to an operator."""


class InputUnusable(MetermendError):
    """A file, an argument or a rule that cannot be used as it is. `str()` is one line: what, where, how to mend."""

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(f"{where}: {what}" if where else what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} - {self.mend}" if self.mend else line


class SettingsUnusable(InputUnusable):
    """A setting is missing, malformed or contradicts another."""


class FileUnusable(InputUnusable):
    """A whole file cannot be read; single unreadable rows are quarantined instead."""


class FileForeign(FileUnusable):
    """A table of something else than usage: none of its columns is a usage record's."""


class Refused(MetermendError):
    """A request that the web turns away. `slug` is the answer's body, the metric's label and the log key."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        super().__init__(slug)


class SignatureRefused(Refused):
    """The `Stripe-Signature` header does not vouch for the body."""


class MalformedBody(Refused):
    """The body is signed but is not a Stripe event."""


class BodyTooLarge(Refused):
    """The body exceeds the cap."""


class Overloaded(Refused):
    """More posts wait for the ledger than should: the web answers 503, and the sender comes again."""


class LedgerUnavailable(MetermendError):
    """The ledger cannot be read or cannot commit at the moment: the web answers 503, a job is tried again."""


class Conflict(MetermendError):
    """A compare-and-set lost: somebody else holds the lease or has moved the row on."""


class Overtaken(Conflict):
    """Another submission of the account was intended since the guards were asked: they are asked once more."""


class Transient(MetermendError):
    """The far side may answer later: tried again with backoff, bounded.

    `retry_after` is in seconds where the far side named one.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Paced(Transient):
    """It is not our turn yet: a pace that the far side asks for is being kept. Waiting for it is no failure."""


class AwaitsPerson(Paced):
    """It goes on when a person has done something outside and said so, however long that takes."""


class Permanent(MetermendError):
    """Trying again cannot help: it ends in a ledger state and an alert, and a person has to look."""


class Corrupt(Permanent):
    """Stored data does not match its digest or its hash chain."""
