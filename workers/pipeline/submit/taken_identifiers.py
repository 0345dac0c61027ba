"""Records whose identifier Stripe holds already: it stands there once, and it is to be told whose it is.

Our own submissions are looked up first. What one of them carried under that identifier is probably billed, and is
never sent under another one. Only of what none of them carried it can be said that somebody else has used it.
"""

from collections.abc import Collection
from typing import Final

import polars as pl

from workers.kernel.ledger.submissions import Submission
from workers.kernel.reasons import ARRIVAL_UNKNOWN, IDENTIFIER_TAKEN
from workers.pipeline.context import Context
from workers.pipeline.submit.outcomes import REASON_SCHEMA
from workers.pipeline.submit.submitted_index import all_submissions, carried
from workers.records.schema import IDENTIFIER, REASON, SUGGESTION

_NOT_OURS: Final = (
    "Stripe already holds an event with this identifier that we did not send: compare before billing it."
)
_OURS: Final = (
    "Stripe already holds this identifier, and we have sent it before: it is probably billed, look there."
)
_TRIED: Final = (
    "A call of ours went unanswered and Stripe now holds its identifier: it is probably billed, its summaries tell."
)


def held_reasons(
    context: Context,
    account: str | None,
    submission: Submission,
    identifiers: pl.Series,
    *,
    tried: Collection[str] = (),
) -> pl.DataFrame:
    """Return why a submission's records are held, as REASON_SCHEMA.

    `tried` are those of which an earlier try of this very submission may have arrived.
    """
    others = [one for one in all_submissions(context, account) if one.id != submission.id]
    ours = carried(context, others, IDENTIFIER, identifiers)[IDENTIFIER].unique()
    named = pl.col(IDENTIFIER)
    word = (
        pl.when(named.is_in(list(tried)))
        .then(pl.lit(_TRIED))
        .when(named.is_in(ours.implode()))
        .then(pl.lit(_OURS))
        .otherwise(pl.lit(_NOT_OURS))
    )
    held = identifiers.alias(IDENTIFIER).to_frame().with_columns(word.alias(SUGGESTION))
    taken = pl.col(SUGGESTION) == _NOT_OURS
    reason = pl.when(taken).then(pl.lit(IDENTIFIER_TAKEN)).otherwise(pl.lit(ARRIVAL_UNKNOWN))
    return held.with_columns(reason.alias(REASON)).select(list(REASON_SCHEMA))
