"""What is open of each case in rows and columns of its own, and the indexes of lists over many open cases."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_SETTLED = ("confirmed", "corrected", "written_off")


def upgrade() -> None:
    """Add the tables, the column and the indexes, filled from the rows of the cases that are open."""
    op.add_column("cases", sa.Column("open_records", sa.BigInteger(), nullable=False, server_default="0"))
    usage = op.create_table(
        "open_usage",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("meter", sa.Text(), primary_key=True),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
    )
    money = op.create_table(
        "open_money",
        sa.Column("case_id", sa.Text(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("currency", sa.Text(), primary_key=True),
        sa.Column("low", sa.Text(), nullable=False),
        sa.Column("high", sa.Text(), nullable=False),
    )
    _fill(usage, money)
    for name, column in {"state_urgent": "urgent_at", "state_size": "size"}.items():
        op.create_index(f"cases_{name}", "cases", ["state", column])
    op.create_index("cases_open", "cases", ["state", "deadline", "open_records"])
    op.drop_index("standings_cause", "standings")
    cause = ["bucket", "code", "reason", "meter", "customer"]
    op.create_index("standings_cause", "standings", [*cause, "records"])
    op.create_index("standings_code", "standings", ["case_id", "code", "bucket", "records"])


def _fill(usage: sa.Table, money: sa.Table) -> None:
    cases = sa.table(
        "cases",
        *(sa.column(name) for name in ("id", "state", "open_records")),
        *(sa.column(name, sa.JSON()) for name in ("balance", "meters", "at_risk")),
    )
    connection = op.get_bind()
    columns = cases.c.id, cases.c.balance, cases.c.meters, cases.c.at_risk
    for case_id, balance, meters, at_risk in connection.execute(
        sa.select(*columns).where(cases.c.state != "settled")
    ).all():
        count = sum(records for records, _ in _open(balance))
        connection.execute(sa.update(cases).where(cases.c.id == case_id).values(open_records=count))
        for meter, kept in (meters or {}).items():
            parts = list(_open(kept))
            if parts:
                quantity = format(sum(quantity for _, quantity in parts), "f")
                row = {"meter": meter, "records": sum(records for records, _ in parts), "quantity": quantity}
                connection.execute(sa.insert(usage).values(case_id=case_id, **row))
        for currency, (low, high) in (at_risk or {}).items():
            connection.execute(sa.insert(money).values(case_id=case_id, currency=currency, low=low, high=high))


def _open(balance: Mapping[str, Any]) -> Iterator[tuple[int, Decimal]]:
    """Yield records and quantity of what is not settled."""
    for name, tally in balance.items():
        if name not in ("failed", "found", *_SETTLED) and tally["records"]:
            yield tally["records"], Decimal(tally["quantity"])
