"""Live and test mode: what one mode's key has taken in is never worked on with a key of the other.

The web may store an event without knowing its key's mode, and a key may be exchanged over a ledger that holds the
other mode's cases: test usage must never be billed, and refusals of live usage never be looked for in a sandbox.
"""

from contextlib import suppress

from workers.kernel.errors import InputUnusable, MalformedBody
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger.events import StoredEvent
from workers.pipeline.context import Context


def is_foreign(context: Context, *, livemode: bool) -> bool:
    """Whether something of this mode belongs to another key than ours."""
    return context.settings.livemode is not None and context.settings.livemode is not livemode


def mode_of(context: Context, event: StoredEvent) -> bool:
    """Return an event's mode: its own word, and our key's where it says none."""
    with suppress(MalformedBody):
        return read_envelope(event.raw or b"", livemode=context.settings.livemode).livemode
    return event.livemode


def require_own_mode(context: Context, subject: str, *, livemode: bool) -> None:
    """Raise InputUnusable, naming the key that is needed, where an event or a case is of the other mode."""
    if is_foreign(context, livemode=livemode):
        mode, other = ("live", "test") if livemode else ("test", "live")
        raise InputUnusable(
            f"it is of {mode} mode and STRIPE_API_KEY is a {other} key",
            where=subject,
            mend=f"only a {mode} key may work on it",
        )
