"""The ledger as one object: the only way to events, cases and submissions."""

from workers.kernel.clock import Clock, utc_now
from workers.kernel.ledger.cases import Cases
from workers.kernel.ledger.checkpoints import Checkpoints
from workers.kernel.ledger.chunks import Chunks
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.events import Events
from workers.kernel.ledger.links import Links
from workers.kernel.ledger.queries import Queries
from workers.kernel.ledger.submissions import Submissions


class Ledger:
    """All of the ledger on one database. Build one in each process, after any fork."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self.database = database
        self.events = Events(database, clock)
        self.cases = Cases(database, clock)
        self.submissions = Submissions(database)
        self.chunks = Chunks(database, clock)
        self.checkpoints = Checkpoints(database, clock)
        self.links = Links(database)
        self.queries = Queries(database, clock)

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()


def connect(url: str, clock: Clock = utc_now) -> Ledger:
    """Return the ledger at a database address; nothing is opened before it is first used.

    Raises SettingsUnusable when the address is none.
    """
    return Ledger(Database(url), clock)
