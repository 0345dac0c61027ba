"""Cases of one cause, as many as a test likes, noted in their incidents as the end of a case's turn notes them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import insert

from tests.builders import a_failure, open_case
from workers.alerts import Alert, ReasonCount
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.cases import _opened
from workers.kernel.ledger.journal import Balance, Bucket, Tally
from workers.kernel.ledger.tables import cases
from workers.pipeline.context import Context
from workers.pipeline.notify.case_status import CaseStatus
from workers.pipeline.notify.cause import cause_of

CODE = "meter_event_customer_not_found"


class Storm:
    """Files of one name pattern, each with refused rows."""

    def __init__(self, context: Context, what: str = "rows of usage-{n}.csv were refused for their format") -> None:
        self.context = context
        self.what = what

    def failure(self, n: int, **changes: Any) -> Failure:
        summary = self.what.format(n=n)
        return a_failure(f"import_set:{summary}", summary=summary, **changes)

    def open(self, count: int) -> None:
        """Open so many cases at once, which is quicker than one by one."""
        rows = [_opened(self.failure(n), self.context.clock()) for n in range(count)]
        with self.context.ledger.database.write() as connection:
            connection.execute(insert(cases), rows)

    def case(
        self,
        n: int,
        buckets: Mapping[Bucket, int],
        *,
        reason: str = "unknown_customer",
        unsent: bool = False,
        **failure: Any,
    ) -> str:
        """Let case n stand like this, and note it; return its id."""
        about = self.failure(n, **failure)
        case = self.context.ledger.cases.get(about.case_id) or open_case(self.context.ledger, about)
        tallies = {bucket: Tally(records, Decimal(records)) for bucket, records in buckets.items()}
        balance = Balance(sum(tallies.values(), Tally()), tallies)
        waiting = buckets.get(Bucket.QUARANTINED, 0)
        status = CaseStatus(
            case_id=case.id,
            summary=about.summary,
            balance=balance,
            by_code={CODE: tallies},
            reasons=[ReasonCount(CODE, reason, waiting, "Nearest known id: cus_9.")] if waiting else [],
            oldest=self.context.clock() - timedelta(days=3) if waiting else None,
            unsent=unsent,
            files={},
        )
        gap = timedelta(seconds=self.context.settings.incident_gap)
        noted = replace(case, balance=balance)
        self.context.ledger.incidents.note(noted, cause_of(case.failure), status.to_json(), gap)
        return case.id


def headlines(posted: list[Alert]) -> list[str]:
    return [alert.headline for alert in posted]
