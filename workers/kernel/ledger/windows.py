"""Which failure a window of refusals belongs to.

Stripe reports the refusals of a meter by windows of some seconds, so one bad file leads to many reports. Those of
one subject and code whose windows lie near each other are one failure, and lead to one case. What a window was
found to belong to stays so, however often and in whatever order the reports come.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from workers.kernel.clock import from_text, to_text
from workers.kernel.ledger.case import Failure, case_of
from workers.kernel.ledger.tables import cases, joined_windows


def join(
    connection: Connection, window: Failure, opened: Mapping[str, Any], gap: timedelta, longest: timedelta
) -> Failure:
    """Return the failure of a window, with a case; `opened` is the row of a case of its own. See `Cases.join`."""
    if connection.dialect.name == "postgresql":  # SQLite lets one write at a time anyway
        subject = repr((window.account, window.code, window.meter_id))
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(subject, 0))))
    known = _found(connection, _told_before(window))
    if known is not None:
        return known
    near = _found(connection, _near(window, gap, longest)) if window.window_start and window.window_end else None
    if near is None:
        connection.execute(
            insert(cases).values({**opened, "due_at": None})
        )  # it is due when something stands in it
        return window
    connection.execute(insert(joined_windows).values(key=window.key, case_id=near.case_id))
    return near


def _found(connection: Connection, query: Select[Any]) -> Failure | None:
    row = connection.execute(query).mappings().first()
    return None if row is None else case_of(row).failure


def _told_before(window: Failure) -> Select[Any]:
    joined = select(joined_windows.c.case_id).where(joined_windows.c.key == window.key).scalar_subquery()
    return select(cases).where(cases.c.id.in_([window.case_id, joined]))


def _near(window: Failure, gap: timedelta, longest: timedelta) -> Select[Any]:
    """Find the earliest failure that the window lies near. Names that no meter has are counted together."""
    start, end = from_text(window.window_start or ""), from_text(window.window_end or "")
    subject = (
        cases.c.account.is_not_distinct_from(window.account),
        cases.c.meter_id.is_not_distinct_from(window.meter_id),
        *(cases.c[name] == getattr(window, name) for name in ("livemode", "kind", "code")),
    )
    near = (
        cases.c.window_start <= to_text(end + gap),
        cases.c.window_end >= to_text(start - gap),
        cases.c.window_start >= to_text(end - longest),
        cases.c.window_end <= to_text(start + longest),
    )
    return select(cases).where(*subject, *near).order_by(cases.c.window_start, cases.c.id).limit(1)
