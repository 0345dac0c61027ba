"""What a command opens that only reads: a ledger that is there already, and the archive. Nothing is created."""

import time
from typing import Final

from sqlalchemy import make_url

from workers.archive import Archive
from workers.kernel.errors import SettingsUnusable
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.database import sqlite_file
from workers.kernel.ledger.schema import NEWEST, later_release, revision
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings, load
from workers.pipeline.context import Context

log = get_logger(__name__)

MIGRATION_SECONDS: Final = 600.0
"""How long a worker or a clock waits for whoever migrates the ledger: they are started together."""
LONGEST_WAIT: Final = 8.0
"""Seconds between two looks, at most; each wait is twice the one before."""
_UPGRADE: Final = "set DATABASE_URL, or run `metermend db upgrade`"


class NotMigrated(SettingsUnusable):
    """There is no ledger of this release, and a migration makes one."""


def open_stores() -> tuple[Ledger, Archive]:
    """Return the ledger and the archive of the settings. Raises SettingsUnusable, LedgerUnavailable."""
    from workers.bootstrap import stores

    settings = load()
    require_ledger(settings)
    return stores(settings)


def open_context() -> Context:
    """Return all that the loop works with. Raises SettingsUnusable, LedgerUnavailable."""
    from workers.bootstrap import context

    require_ledger(load())
    return context()


def await_ledger(settings: Settings) -> None:
    """Wait until the ledger is migrated, saying once that it is not.

    Raises NotMigrated after MIGRATION_SECONDS, and at once what else `require_ledger` raises.
    """
    deadline, wait = time.monotonic() + MIGRATION_SECONDS, LONGEST_WAIT / 16
    while True:
        try:
            require_ledger(settings)
            return
        except NotMigrated as missing:
            if time.monotonic() + wait > deadline:
                raise
            if wait == LONGEST_WAIT / 16:
                log.warning("ledger_awaited", reason=str(missing))
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def require_ledger(settings: Settings) -> str:
    """Return the version of the ledger's database.

    Raises NotMigrated where there is no ledger of this release yet, SettingsUnusable where a later release has
    migrated it, LedgerUnavailable while it does not answer.
    """
    url = settings.database_url.get_secret_value()
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise NotMigrated(f"no ledger at {url}", mend=_UPGRADE)
    ledger = connect(url)
    try:
        with ledger.database.read() as connection:
            found = revision(connection)
        version = ledger.queries.version()
    finally:
        ledger.close()
    if found is None:
        raise NotMigrated(f"no ledger at {_shown(url)}", mend=_UPGRADE)
    if found > NEWEST:
        raise later_release(found)
    if found != NEWEST:
        raise NotMigrated(
            f"the ledger at {_shown(url)} is at revision {found}, this release needs {NEWEST}", mend=_UPGRADE
        )
    return version


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
