"""What a command opens that only reads: a ledger that is there already, and the archive. Nothing is created."""

from sqlalchemy import make_url

from workers.archive import Archive
from workers.kernel.errors import SettingsUnusable
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.database import sqlite_file
from workers.kernel.ledger.schema import NEWEST, revision
from workers.kernel.settings import Settings, load
from workers.pipeline.context import Context

_UPGRADE = "set DATABASE_URL, or run `metermend db upgrade`"


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


def require_ledger(settings: Settings) -> str:
    """Return the version of the ledger's database.

    Raises SettingsUnusable where there is no ledger of this release, LedgerUnavailable while it does not answer.
    """
    url = settings.database_url.get_secret_value()
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise SettingsUnusable(f"no ledger at {url}", mend=_UPGRADE)
    ledger = connect(url)
    try:
        with ledger.database.read() as connection:
            found = revision(connection)
        version = ledger.queries.version()
    finally:
        ledger.close()
    if found is None:
        raise SettingsUnusable(f"no ledger at {_shown(url)}", mend=_UPGRADE)
    if found != NEWEST:
        raise SettingsUnusable(
            f"the ledger at {_shown(url)} is at revision {found}, this release needs {NEWEST}", mend=_UPGRADE
        )
    return version


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
