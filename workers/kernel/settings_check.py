"""What the settings lack for a running service, each with its mend: told at start and by `metermend doctor`."""

from dataclasses import dataclass

from workers.kernel.settings import Settings


@dataclass(frozen=True)
class Problem:
    """Something about the settings that an operator should mend."""

    setting: str
    what: str
    mend: str
    fatal: bool


def problems(settings: Settings) -> list[Problem]:
    """Return what is missing for a running service, the fatal ones first."""
    found = []
    if not settings.signing_secrets:
        found.append(
            Problem(
                "STRIPE_WEBHOOK_SECRETS",
                "no signing secret, so no webhook can be accepted",
                "copy the whsec_ values of both event destinations (snapshot and thin)",
                fatal=True,
            )
        )
    if settings.stripe_api_key is None:
        found.append(
            Problem(
                "STRIPE_API_KEY",
                "no API key, so no event, file or meter can be fetched, nor test events be told from live ones",
                "create a restricted key that reads meters, files, customers and events",
                fatal=True,
            )
        )
    if None not in settings.target_places:
        found.append(
            Problem(
                "SUBMIT_TO",
                "unset: repaired records are planned and kept, but not sent",
                "set s3://bucket/folder (the connector's folder) or meter-events",
                fatal=False,
            )
        )
    if None not in settings.source_places:
        found.append(
            Problem(
                "USAGE_SOURCES",
                "unset: records behind validation reports cannot be found",
                "name the directories or buckets that hold your own usage files",
                fatal=False,
            )
        )
    return found
