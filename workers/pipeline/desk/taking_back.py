"""Taking back an act of many cases: in all of them, or in none."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.cases import HeldCase
from workers.pipeline.context import Context, heartbeat
from workers.pipeline.desk.traces import commit_back, moves_back, require_unsent


def take_back_of(context: Context, case_ids: Sequence[str], act: Act, by: str) -> Mapping[str, Any]:
    """Let the records of cases wait as they did before an act.

    All cases are held, and what is to be written of each is ready, before the first is written to. So where one is
    held by a worker (Conflict) or has a record that was sent (InputUnusable), nothing is done in any of them. Where
    the ledger goes away between two commits, asking again does the rest.
    """
    with _all_held(context, case_ids) as held:
        moves = [moves_back(context, one, act, by) for one in held]
        return {
            "records": sum(commit_back(context, one, ready, act) for one, ready in zip(held, moves, strict=True))
        }


def require_all_unsent(context: Context, case_ids: Sequence[str], act: Act) -> None:
    """Raise InputUnusable where a record of one of the cases is not ours to hold back any more."""
    for case_id in case_ids:
        require_unsent(context, context.ledger.queries.entries(case_id), act, case_id)


@contextmanager
def _all_held(context: Context, case_ids: Sequence[str]) -> Iterator[list[HeldCase]]:
    """Hold cases at once, one after the other in the order of their ids, and keep them for as long as it takes."""
    with ExitStack() as stack:
        ordered = sorted(set(case_ids))
        held = [
            stack.enter_context(context.ledger.cases.hold(one, context.owner, context.lease)) for one in ordered
        ]

        def renew() -> None:
            for one in held:
                if not one.given_back:
                    one.renew()

        stack.enter_context(heartbeat(context, renew))
        yield held
