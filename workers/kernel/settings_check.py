"""What is wrong with the settings, each with its mend: told at start and by `metermend doctor`.

`.env` is looked at line by line: what python-dotenv cannot parse, it leaves out without an error.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv.parser import Binding, parse_stream

from workers.kernel.errors import SettingsUnusable
from workers.kernel.places import METRONOME
from workers.kernel.settings_form import Problem, malformed

if TYPE_CHECKING:
    from workers.kernel.settings import Settings


def problems(settings: "Settings") -> list[Problem]:
    """Return what is missing for a running service, the fatal ones first."""
    missing = (
        (
            not settings.signing_secrets,
            "STRIPE_WEBHOOK_SECRETS",
            "no signing secret, so no webhook can be accepted",
            "copy the whsec_ values of both event destinations (snapshot and thin)",
            True,
        ),
        (
            settings.stripe_api_key is None,
            "STRIPE_API_KEY",
            "no API key, so no event, file or meter can be fetched, nor test events be told from live ones",
            "create a restricted key that reads meters, files, customers and events",
            True,
        ),
        (
            None not in settings.target_places,
            "SUBMIT_TO",
            "unset: repaired records are planned and kept, but not sent",
            "set s3://bucket/folder (the connector's folder), meter-events, meter-event-stream or metronome",
            False,
        ),
        (
            METRONOME in settings.target_places.get(None, ()) and settings.metronome_token is None,
            "METRONOME_TOKEN",
            "unset: SUBMIT_TO leads to Metronome, and nothing can be sent there",
            "create an API token in Metronome, or name another place in SUBMIT_TO",
            True,
        ),
        (
            None not in settings.source_places,
            "USAGE_SOURCES",
            "unset: records behind validation reports cannot be found",
            "name the directories or buckets that hold your own usage files",
            False,
        ),
        (
            settings.slack_bot_token is not None and settings.slack_channel is None,
            "SLACK_CHANNEL",
            "unset: the bot of SLACK_BOT_TOKEN has nowhere to post, and is not used",
            "name the channel that it was invited into",
            False,
        ),
        (
            settings.slack_channel is not None and settings.slack_bot_token is None,
            "SLACK_BOT_TOKEN",
            "unset: nobody posts into SLACK_CHANNEL",
            "copy the bot token (xoxb-...) from the Slack app's page, or unset SLACK_CHANNEL",
            False,
        ),
    )
    found = [Problem(name, what, mend, fatal=fatal) for lacks, name, what, mend, fatal in missing if lacks]
    found += malformed(settings)
    return sorted(found, key=lambda problem: not problem.fatal)


def dotenv_faults(path: Path) -> list[SettingsUnusable]:
    """Return what is wrong with the file, by line number; a line's text may be a secret and is not shown."""
    try:
        return [
            SettingsUnusable(
                f"line {_line(binding)} is not NAME=value",
                where=str(path),
                mend="mend the line; a value with blanks, # or quotes goes in single quotes",
            )
            for binding in _bindings(path)
            if binding.error or (binding.key is not None and binding.value is None)
        ]
    except (OSError, UnicodeDecodeError) as error:
        return [SettingsUnusable(f"cannot be read: {error}", where=str(path), mend="make it readable, in UTF-8")]


def dotenv_names(path: Path) -> list[str]:
    """Return the names that the file sets; none where it cannot be read."""
    try:
        return [binding.key for binding in _bindings(path) if binding.key]
    except (OSError, UnicodeDecodeError):
        return []


def _bindings(path: Path) -> Iterator[Binding]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        yield from parse_stream(file)


def _line(binding: Binding) -> int:
    """Return the line on which the statement stands: python-dotenv counts from the blank lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
