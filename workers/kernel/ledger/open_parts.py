"""What is open of each case, by meter and by currency: narrow rows, so that all of them are soon added up.

Kept with a case's facts and with its appraisal, gone with the commit that settles it; no step of a case reads it.
"""

from sqlalchemy import Connection, Table, delete, insert

from workers.kernel.ledger.case_facts import ByMeter, open_quantities
from workers.kernel.ledger.tables import open_money, open_usage
from workers.kernel.money import Money


def keep_open_usage(connection: Connection, case_id: str, of: ByMeter) -> None:
    """Write down what is not settled of each meter of a case, in the place of what stood there before."""
    rows = [
        {"case_id": case_id, "meter": meter, "records": tally.records, "quantity": tally.quantity}
        for meter, tally in open_quantities(of)
    ]
    _replace(connection, open_usage, case_id, rows)


def keep_open_money(connection: Connection, case_id: str, money: Money) -> None:
    """Write down what the open usage of a case is worth, in the place of what stood there before."""
    rows = [
        {"case_id": case_id, "currency": currency, "low": amount.low, "high": amount.high}
        for currency, amount in money.items()
    ]
    _replace(connection, open_money, case_id, rows)


def forget_open(connection: Connection, case_id: str) -> None:
    """Forget what was open of a case that is settled."""
    for table in (open_usage, open_money):
        _replace(connection, table, case_id, [])


def _replace(connection: Connection, table: Table, case_id: str, rows: list[dict[str, object]]) -> None:
    connection.execute(delete(table).where(table.c.case_id == case_id))
    if rows:
        connection.execute(insert(table), rows)
