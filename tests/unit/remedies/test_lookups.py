"""What is asked of Stripe before a repair: an id not asked for counts as unknown, its usage is stopped."""

import polars as pl

from tests.unit.remedies.frames import NOW, good, records
from workers.kernel.codes import Outcome
from workers.records.catalog import Catalog, Meter
from workers.records.schema import OUTCOME
from workers.remedies import customers_to_look_up, metadata_queries, parse_rules, repair_frame

RULES = parse_rules("""
[customers]
aliases = { acme = "beta", beta = "cus_beta" }
metadata_key = "tenant"
[[customers.missing]]
column = "tenant"
""")
ROWS = [
    good(),
    good(payload_stripe_customer_id=" cus_padded "),
    good(payload_stripe_customer_id="acme"),
    good(payload_stripe_customer_id="tenant-7"),
    good(payload_stripe_customer_id=None, payload_customer_id="cus_elsewhere"),
    good(payload_stripe_customer_id=None, tenant="acme"),
]
HITS = Catalog(meters=(Meter("api_calls"),), metadata_hits={"tenant-7": ("cus_hit",), "x": ("cus_a", "cus_b")})


def test_every_id_that_a_remedy_could_put_is_asked_for() -> None:
    wanted = customers_to_look_up(records(ROWS), HITS, RULES)
    assert {"cus_known", "cus_padded", "cus_beta", "cus_hit", "cus_elsewhere"} <= set(wanted)
    assert wanted == sorted(set(wanted))
    assert " cus_padded " not in wanted


def test_with_the_answers_every_record_is_repaired() -> None:
    wanted = customers_to_look_up(records(ROWS), HITS, RULES)
    existing = pl.Series([customer for customer in wanted if customer.startswith("cus_")])
    catalog = Catalog(meters=HITS.meters, customers=existing, metadata_hits=HITS.metadata_hits, live=True)
    repaired = repair_frame(records(ROWS), catalog=catalog, rules=RULES, now=NOW)
    assert repaired[OUTCOME].to_list() == [Outcome.VALID, *[Outcome.REPAIRED] * 5]


def test_what_is_known_is_not_asked_again() -> None:
    catalog = Catalog(customers=pl.Series(["cus_known"]))
    assert customers_to_look_up(records([good()]), catalog, parse_rules("")) == []


def test_metadata_is_searched_only_by_rule_and_for_what_is_no_stripe_id() -> None:
    assert metadata_queries(records(ROWS), Catalog(), RULES) == ["tenant-7"]
    assert metadata_queries(records(ROWS), Catalog(), parse_rules("")) == []
