"""What the loop works with: built once in each process by `workers.bootstrap`, and by tests."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Final
from uuid import uuid4

from workers.alerts import Alerts
from workers.archive import Archive
from workers.kernel.clock import Clock
from workers.kernel.errors import Conflict, LedgerUnavailable
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.places import APIS
from workers.kernel.settings import Settings
from workers.kernel.storage import Store
from workers.remedies import Rules, with_made
from workers.sources import NOWHERE, UsageSources
from workers.stripe_api import StripeApi
from workers.targets import Target

BEATS: Final = 3
"""Renewals in the time of one lease: two may fail before it is lost."""
LAST_SECONDS: Final = 10.0
"""How long the end of the work waits for a renewal that is under way."""


@dataclass(frozen=True)
class Stores:
    """What reading a case needs: the ledger, and the archive of its record sets.

    `verified` has the local paths of record sets whose digest was found right in this piece of work.
    """

    ledger: Ledger
    archive: Archive
    verified: dict[RecordSetRef, Path] = field(default_factory=dict, init=False, repr=False, compare=False)


@dataclass(frozen=True)
class Context(Stores):
    """The ledger, the adapters and the rules that one piece of work uses.

    `sources` and `target` are of our own account; those of connected accounts are kept by account.
    Into `given_folders` people drop failed-records files, each of an account. `api_target` is
    the one of Stripe's APIs that SUBMIT_TO names, alone or beside folders. `owner` names this piece of work in
    leases: two runs of one job are two owners. `rules` are those of `rules.toml`; what repairs asks
    `rules_in_force`.
    """

    settings: Settings
    queue: JobQueue
    stripe: StripeApi
    sources: UsageSources
    target: Target | None
    alerts: Alerts
    rules: Rules
    clock: Clock
    account_sources: Mapping[str, UsageSources] = field(default_factory=dict)
    account_targets: Mapping[str, Target] = field(default_factory=dict)
    api_target: Target | None = None
    given_folders: Sequence[tuple[str | None, Store]] = ()
    owner: str = field(default_factory=lambda: uuid4().hex)

    @cached_property
    def rules_in_force(self) -> Rules:
        """The file's rules, and over them those that people have made: read once in each piece of work."""
        return with_made(self.rules, self.ledger.rules.in_force())

    def sources_of(self, account: str | None) -> UsageSources:
        """Return the usage files of one account: another's may carry the same identifiers for other usage."""
        return self.sources if account is None else self.account_sources.get(account, NOWHERE)

    def target_of(self, account: str | None) -> Target | None:
        """Return where an account's corrected usage goes; without a place of its own, the API where we use it.

        A folder bills the account whose connector reads it, so it takes no other's usage.
        """
        if account is None or account in self.account_targets:
            return self.target if account is None else self.account_targets[account]
        by_api = self.target is not None and self.target.name in APIS
        return self.target if by_api else self.api_target

    def window_target_of(self, account: str | None) -> Target | None:
        """Return where an account's usage of pre-aggregated meters goes: the API, if that is to be had."""
        target = self.target_of(account)
        return target if target is None or target.at_once else self.api_target or target

    def target_named(self, name: str, account: str | None) -> Target | None:
        """Return the target of that name among those that an account's usage goes to."""
        targets = (self.target_of(account), self.window_target_of(account))
        return next((target for target in targets if target is not None and target.name == name), None)

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)

    @property
    def confirmation_window(self) -> timedelta:
        """How long a submission must go unrefused before it counts as arrived."""
        return timedelta(seconds=self.settings.confirmation_window)

    @property
    def confirmation_deadline(self) -> timedelta:
        """How long after it was sent a submission must show in Stripe's totals, else it is unconfirmed."""
        return timedelta(seconds=self.settings.confirmation_deadline)

    @property
    def invoice_grace(self) -> timedelta:
        """How long after a billing period has ended its invoice is finalised."""
        return timedelta(seconds=self.settings.invoice_grace)

    @property
    def validation_delay(self) -> timedelta:
        """How long after a file was last written Stripe may validate its records."""
        return timedelta(seconds=self.settings.validation_delay)

    @property
    def scratch(self) -> Path:
        """Local disk for files in work."""
        self.settings.scratch_dir.mkdir(parents=True, exist_ok=True)
        return self.settings.scratch_dir


@contextmanager
def working_on(context: Context, case_id: str) -> Iterator[HeldCase]:
    """Hold a case for as long as the block runs, however long. Raises Conflict while another worker holds it."""
    with (
        context.ledger.cases.hold(case_id, context.owner, context.lease) as held,
        heartbeat(context, held.renew),
    ):
        yield held


@contextmanager
def heartbeat(context: Context, renew: Callable[[], None]) -> Iterator[None]:
    """Renew a lease for as long as the block runs: long work must not be taken for a worker's death.

    `renew` raises Conflict when the lease was lost. A worker that is killed beats no more, so what it held is free
    after one lease; one that hangs beats until its job's timeout ends it.
    """
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(context, renew, done), name="heartbeat", daemon=True)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join(LAST_SECONDS)


def _beat(context: Context, renew: Callable[[], None], done: threading.Event) -> None:
    while not done.wait(context.lease.total_seconds() / BEATS):
        try:
            renew()
        except Conflict:
            return  # another worker has it; the work ends with its own Conflict
        except LedgerUnavailable:
            continue
