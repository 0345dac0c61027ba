"""Where rules.toml and the rules that people have made disagree: kept for the web, which does not read the file."""

from workers.kernel.ledger.rules import FILE_SAYS
from workers.pipeline.context import Context
from workers.remedies.made_rules import contradictions


def note_contradictions(context: Context) -> None:
    """Write down where the file contradicts a rule in force, if that has changed. Raises LedgerUnavailable."""
    made = context.ledger.rules.in_force()
    found = {one.rule.id: one.file_says for one in contradictions(context.rules, made)}
    if found != (context.ledger.checkpoints.get(FILE_SAYS) or {}):
        context.ledger.checkpoints.save(FILE_SAYS, found)
