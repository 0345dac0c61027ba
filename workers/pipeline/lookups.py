"""What Stripe knows of meters and customers at this moment, fetched for the records that are about to be judged."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from workers.pipeline.context import Context
from workers.records.catalog import Catalog, Meter
from workers.remedies import Rules, customers_to_look_up, metadata_queries
from workers.stripe_api.protocol import existing


def meters_of(context: Context, account: str | None) -> tuple[Meter, ...]:
    """Ask Stripe for an account's meters."""
    return tuple(map(Meter.from_stripe, context.stripe.list_meters(account)))


@dataclass
class Catalogs:
    """Catalogs for the slices of one plan by these rules: each customer is asked for once."""

    context: Context
    account: str | None
    rules: Rules
    _known: dict[str, bool] = field(default_factory=dict)
    _hits: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def for_records(self, frame: pl.DataFrame) -> Catalog:
        """Return the account's meters, and those customers and metadata hits that these records make matter."""
        catalog = Catalog(meters=self._meters, live=True)
        self._search(metadata_queries(frame, catalog, self.rules))
        catalog = replace(catalog, metadata_hits=dict(self._hits))
        self._look_up(customers_to_look_up(frame, catalog, self.rules))
        existing = pl.Series([customer for customer, exists in self._known.items() if exists], dtype=pl.String)
        return replace(catalog, customers=existing)

    @cached_property
    def _meters(self) -> tuple[Meter, ...]:
        return meters_of(self.context, self.account)

    def _look_up(self, customers: list[str]) -> None:
        unknown = [customer for customer in customers if customer not in self._known]
        there = existing(self.context.stripe.find_customers(unknown, self.account)) if unknown else {}
        self._known |= {name: name in there for name in unknown}

    def _search(self, texts: list[str]) -> None:
        key = self.rules.customers.metadata_key
        for text in texts:
            if key is not None and text not in self._hits:
                self._hits[text] = tuple(self.context.stripe.search_customers(key, text, self.account))
