"""Names in the environment that nothing reads, and the settings that were meant by them."""

from collections.abc import Iterable, Iterator
from typing import Final

from rapidfuzz import fuzz, process

from workers.cli.doctor_check import Check
from workers.cli.main import DEBUG
from workers.kernel.settings import Settings

MEANT: Final = {
    "STRIPE_SECRET_KEY": "STRIPE_API_KEY",
    "STRIPE_KEY": "STRIPE_API_KEY",
    "STRIPE_ENDPOINT_SECRET": "STRIPE_WEBHOOK_SECRETS",
    "STRIPE_SIGNING_SECRET": "STRIPE_WEBHOOK_SECRETS",
    "STRIPE_WEBHOOK_SIGNING_SECRET": "STRIPE_WEBHOOK_SECRETS",
    "SLACK_URL": "SLACK_WEBHOOK_URL",
    "SLACK_TOKEN": "SLACK_BOT_TOKEN",
    "POSTGRES_URL": "DATABASE_URL",
}
"""Names that other tools use for what is a setting here."""
OWN: Final = "METERMEND_"
"""What begins so is meant for us, whatever it resembles."""
ALIKE: Final = 85.0
"""How much a name resembles a setting's, of 100, for it to be a slip."""
PERHAPS: Final = 60.0
"""How much it must resemble one to be asked about, where it is meant for us in any case."""


def misspelt(names: Iterable[str]) -> Iterator[Check]:
    """Yield a note for each name that nothing reads and that resembles a setting which is not set, or is ours."""
    settings = {field.upper() for field in Settings.model_fields}
    readable = settings | {f"{name}_FILE" for name in settings}
    given = {name.upper() for name in names}
    unset = sorted(name for name in readable if not {name, name.removesuffix("_FILE")} & given)
    for name in sorted(given - readable - {DEBUG}):
        meant = MEANT[name] if MEANT.get(name) in unset else _closest(name, unset)
        if meant:
            yield Check(name, "is set, but nothing reads it", f"did you mean {meant}?", "note")
        elif name.startswith(OWN):
            yield Check(name, "is set, but nothing reads it", "see docs/SETTINGS.md", "note")


def _closest(name: str, unset: list[str]) -> str | None:
    least = PERHAPS if name.startswith(OWN) else ALIKE
    found = process.extractOne(name.removeprefix(OWN), unset, scorer=fuzz.ratio, score_cutoff=least)
    return found[0] if found else None
