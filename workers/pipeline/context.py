"""What the loop works with: built once in each process by `workers.bootstrap`, and by tests."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from workers.alerts import Alerts
from workers.archive import Archive
from workers.kernel.clock import Clock
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.settings import Settings
from workers.remedies import Rules
from workers.sources import UsageSources
from workers.stripe_api import StripeApi
from workers.targets import Target


def _new_owner() -> str:
    return uuid4().hex


@dataclass(frozen=True)
class Books:
    """What reading a case needs: the ledger, and the archive of its record sets."""

    ledger: Ledger
    archive: Archive


@dataclass(frozen=True)
class Context(Books):
    """The ledger, the adapters and the rules that one piece of work uses.

    `owner` names this piece of work in leases: two runs of one job are two owners. `api_target` is where usage of
    pre-aggregated meters goes, if there is one beside a `target` that has to wait until Stripe comes for it.
    """

    settings: Settings
    queue: JobQueue
    stripe: StripeApi
    sources: UsageSources
    target: Target | None
    alerts: Alerts
    rules: Rules
    clock: Clock
    api_target: Target | None = None
    owner: str = field(default_factory=_new_owner)

    @property
    def window_target(self) -> Target | None:
        """Where usage of pre-aggregated meters goes."""
        return self.api_target or self.target

    def target_named(self, name: str) -> Target | None:
        """Return the target of that name; None where SUBMIT_TO leads to none."""
        return next((one for one in (self.target, self.api_target) if one is not None and one.name == name), None)

    @property
    def lease(self) -> timedelta:
        """How long a lease lasts without being renewed."""
        return timedelta(seconds=self.settings.lease_seconds)

    @property
    def confirmation_window(self) -> timedelta:
        """How long a submission must go unrefused before it counts as arrived."""
        return timedelta(seconds=self.settings.confirmation_window)

    @property
    def scratch(self) -> Path:
        """Local disk for files in work."""
        self.settings.scratch_dir.mkdir(parents=True, exist_ok=True)
        return self.settings.scratch_dir
