"""Settings: read once from the environment and `.env`, checked at start, masked when shown.

A secret may stand in a file instead: `STRIPE_API_KEY_FILE=/run/secrets/key` is read as `STRIPE_API_KEY`.
"""

import logging
import os
import re
import string
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from workers.kernel import places
from workers.kernel.errors import SettingsUnusable
from workers.kernel.places import Places
from workers.kernel.settings_check import dotenv_faults

DOTENV = Path(".env")
MIB = 1024 * 1024
SHORTEST_RETENTION_DAYS = 40
"""A refusal of usage that is 35 days old must still find the records that it is about."""

_BLANKS: Final = string.whitespace + "\x85\xa0\u2028\u2029\u202f\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""Blanks, and the invisible characters that come along when a value is copied out of a page or an editor."""
_QUOTED: Final = re.compile(r"""(['"])(?P<inner>((?!\1).)*)\1""", re.DOTALL)
_SEPARATOR: Final = re.compile(r"[,\r\n]")
_WORD: Final = re.compile("[!-~]+")
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEKLY: Final = re.compile(rf"off|({'|'.join(WEEKDAYS)}) ([01]\d|2[0-3]):([0-5]\d)")
_WEB_ADDRESS: Final = re.compile("https?://[^/]")
_Secrets = SecretStr | tuple[SecretStr, ...] | None

SecretList = Annotated[tuple[SecretStr, ...], NoDecode]


class Settings(BaseSettings):
    """All that an operator can set. Field names are the environment's names in lower case."""

    model_config = SettingsConfigDict(env_file=DOTENV, extra="ignore", frozen=True, env_ignore_empty=True)

    stripe_api_key: SecretStr | None = Field(
        None, description="Secret or restricted key; reads events, meters, files and customers."
    )
    stripe_webhook_secrets: SecretList = Field(
        (),
        description="Signing secrets of the snapshot and thin destinations, comma-separated; rolled ones may stay.",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="One more signing secret, under the name that Stripe's samples use."
    )
    webhook_tolerance: int = Field(300, ge=1, description="Seconds that a signature may be old or ahead.")
    webhook_max_body: int = Field(MIB, ge=1024, description="Largest webhook body, in bytes.")
    port: int = Field(4242, ge=0, le=65535, description="Port of the web process.")
    trusted_proxies: int = Field(
        0,
        ge=0,
        description="Proxies before the web process that append to X-Forwarded-For; logins count by client then.",
    )

    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="The queue: redis://, rediss:// (TLS), or the master that Sentinels name, as "
        "redis+sentinel://host:26379,host:26379/mymaster/0.",
    )
    database_url: SecretStr = Field(
        SecretStr("sqlite:///.metermend/ledger.db"), description="The ledger: SQLite or PostgreSQL."
    )
    archive_url: str = Field(
        ".metermend/archive",
        description="Where record sets are kept: a directory or s3://, gs://, az://.",
    )
    scratch_dir: Path = Field(
        Path(".metermend/scratch"), description="Local disk for files in work; may be emptied."
    )

    usage_sources: SecretList = Field(
        (),
        description="Where the sender's own usage is: directories, s3:// prefixes, or tables as "
        "postgresql://user:password@host/database?table=usage, comma-separated; "
        "a connected account's as acct_…=place.",
    )
    incident_gap: int = Field(
        900, ge=1, description="Seconds between failures of one cause that still are one incident."
    )
    validation_delay: int = Field(
        86_400,
        ge=0,
        description="Seconds after a usage file was last written in which Stripe may validate it; "
        "a validation report cannot mean an older one.",
    )
    totals_delay: int = Field(
        3600,
        ge=0,
        description="Seconds after which Stripe's totals hold what it took in; nothing younger is compared.",
    )
    approvals: int = Field(
        1, ge=1, le=2, description="People who must approve what one of them asks for; 2 for four eyes."
    )
    proof_quantity: Decimal = Field(
        Decimal(1_000_000),
        ge=0,
        description="Quantity from which on a failure's unnamed records are sent only after Stripe's totals were "
        "asked, where they can tell.",
    )
    submit_to: str | None = Field(
        None,
        description="Where corrected usage goes: s3://bucket/folder, file:///folder, meter-events, "
        "meter-event-stream, metronome, or dashboard for parts that a person uploads; beside it, comma-separated, "
        "a connected account's as acct_…=place. With a folder and one of the two APIs, usage of pre-aggregated "
        "meters goes by the API.",
    )
    metronome_token: SecretStr | None = Field(
        None, description="API token of Metronome, where SUBMIT_TO is metronome."
    )
    submit_pace_seconds: float = Field(
        10.0, ge=0, description="Seconds between two files for the S3 connector; Stripe's documented pace is 10."
    )
    rules_file: Path | None = Field(None, description="rules.toml: what each remedy may do alone.")
    max_attempts: int = Field(
        2, ge=1, le=9, description="Revisions of a record that are sent before it is quarantined."
    )
    confirmation_window: int = Field(
        1800,
        ge=1,
        description="Seconds without a refusal after which a submission counts as arrived.",
    )
    confirmation_deadline: int = Field(
        21_600,
        ge=1,
        description="Seconds after which usage that was sent and does not show in Stripe's totals is told as "
        "unconfirmed.",
    )

    invoice_grace: int = Field(
        3600,
        ge=0,
        description="Seconds from the end of a billing period until Stripe finalises its invoice, as your account "
        "is set; usage that is not repaired by then is not on it.",
    )

    slack_webhook_url: SecretStr | None = Field(
        None, description="Slack incoming webhook, where no bot is named; alerts are printed without either."
    )
    slack_bot_token: SecretStr | None = Field(
        None, description="Token of a Slack bot (chat:write): an incident is then one message, changed in place."
    )
    slack_channel: str | None = Field(None, description="Channel that the bot posts to, as id or name.")
    digest: str = Field(
        "mon 09:00", description="When the digest of a week goes out, as weekday and time in UTC; `off` for never."
    )
    console_url: str | None = Field(None, description="Public address of the console, for links in Slack.")
    console_password_hash: SecretStr | None = Field(
        None,
        description="Password hash of the console; when unset, a login is made and printed at start.",
    )
    session_secret: SecretStr | None = Field(
        None, description="Signs console sessions; when unset, sessions end with the process."
    )

    oidc_issuer: str | None = Field(
        None, description="Issuer of your company's OpenID Connect provider, as it names itself; needs CONSOLE_URL."
    )
    oidc_client_id: str | None = Field(None, description="Id of the client that metermend is at the provider.")
    oidc_client_secret: SecretStr | None = Field(None, description="Secret of that client.")
    oidc_claim: str = Field(
        "email", description="Claim of the ID token that is a user's name in the ledger; an email must be verified."
    )

    metrics_token: SecretStr | None = Field(
        None, description="What a scraper of /metrics must send as its bearer token; when unset, it is open."
    )

    stripe_api_base: str = Field("https://api.stripe.com", description="Stripe's API.")
    stripe_files_base: str = Field("https://files.stripe.com", description="Stripe's file downloads.")
    stripe_meter_events_base: str = Field(
        "https://meter-events.stripe.com", description="Stripe's meter event stream."
    )
    metronome_base: str = Field("https://api.metronome.com", description="Metronome's API.")
    stripe_timeout: float = Field(20.0, gt=0, description="Seconds that one call to Stripe may take.")
    failed_records_folder: str | None = Field(
        None,
        description="Folder into which people drop failed-records files that they have downloaded: a directory or "
        "s3://…; a connected account's as acct_…=place, comma-separated.",
    )
    failed_records_max_bytes: int = Field(
        2 * 1024 * MIB, ge=MIB, description="Largest failed-records file, in bytes."
    )
    failed_records_error_column: str | None = Field(
        None, description="Header of the reason column, if not recognised."
    )
    failed_records_code_column: str | None = Field(
        None, description="Header of the code column, if not recognised."
    )
    failed_records_row_column: str | None = Field(
        None, description="Header of the row number column, if not recognised."
    )

    lease_seconds: int = Field(
        300,
        ge=1,
        le=3600,
        description="Seconds that a worker owns what it took up, renewed as it works; the same for all workers.",
    )
    job_timeout: int = Field(3600, ge=10, description="Seconds that one job may run, large work six times as long.")
    event_attempts: int = Field(
        100, ge=1, description="Tries of an event or a case while something is away, about a day, before it ends."
    )
    silence_hours: int = Field(
        24, ge=0, description="Hours without any webhook after which people are told; 0 for never."
    )
    sweep_interval: float = Field(30.0, gt=0, description="Seconds between two rounds of the clock process.")
    reconcile_interval: float = Field(
        900.0, gt=0, description="Seconds between two comparisons with Stripe's own lists of events."
    )
    audit_calls: int = Field(
        5000, ge=0, description="Calls to Stripe's totals that the audit may make a day; 0 turns it off."
    )
    retention_raw_days: int = Field(
        400, ge=0, description="Days that event bodies are kept, at least 40; 0 keeps them for ever."
    )
    retention_record_sets_days: int = Field(
        400, ge=0, description="Days that a settled case's record sets are kept, at least 40; 0 for ever."
    )
    log_format: str = Field(
        "auto", pattern="^(auto|json|pretty)$", description="auto: pretty on a terminal, else JSON."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_wrapping(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Take off what came along with a copied value; what is blank then is unset, as an empty variable is."""
        bare = {name: unwrapped(value) if isinstance(value, str) else value for name, value in values.items()}
        return {name: value for name, value in bare.items() if value != ""}

    @field_validator("stripe_webhook_secrets", "usage_sources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value) if isinstance(value, str) else value

    @field_validator("usage_sources")
    @classmethod
    def _sources_of_accounts(cls, entries: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        named = places.by_account(entry.get_secret_value() for entry in entries)
        for place in (place for of_account in named.values() for place in of_account):
            if not places.is_table(place):
                _require_no_password(place)
        return entries

    @field_validator("submit_to")
    @classmethod
    def _targets_of_accounts(cls, text: str | None) -> str | None:
        places.require_targets(places.by_account(_parts(text or "")))
        return text

    @field_validator("failed_records_folder")
    @classmethod
    def _folders_of_accounts(cls, text: str | None) -> str | None:
        places.by_account(_parts(text or ""))
        return text

    @field_validator(
        *(
            "stripe_api_key",
            "webhook_secret",
            "slack_webhook_url",
            "slack_bot_token",
            "stripe_webhook_secrets",
            "metrics_token",
            "metronome_token",
            "oidc_client_secret",
        )
    )
    @classmethod
    def _one_word(cls, value: _Secrets) -> _Secrets:
        for secret in value if isinstance(value, tuple) else filter(None, [value]):
            _require_one_word(secret.get_secret_value())
        return value

    @field_validator(
        *("stripe_api_base", "stripe_files_base", "stripe_meter_events_base"),
        *("metronome_base", "console_url", "oidc_issuer"),
    )
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None:
            _require_one_word(value)
            if not _WEB_ADDRESS.match(value):
                raise ValueError("no web address: it begins with https://")
        return value

    @field_validator(
        *("archive_url", "submit_to", "failed_records_folder", "console_url", "oidc_issuer"),
        *("stripe_api_base", "stripe_files_base", "stripe_meter_events_base", "metronome_base"),
    )
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        _require_no_password(value or "")
        return value

    @field_validator("digest")
    @classmethod
    def _weekday_and_time(cls, text: str) -> str:
        if not WEEKLY.fullmatch(text.lower()):
            raise ValueError("no weekday and time: write them as `mon 09:00`, in UTC, or `off`")
        return text.lower()

    @field_validator("retention_raw_days", "retention_record_sets_days")
    @classmethod
    def _long_enough(cls, days: int) -> int:
        if 0 < days < SHORTEST_RETENTION_DAYS:
            raise ValueError(f"{days} days are too few: Stripe takes usage, and refuses it, for 35 days")
        return days

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """Every secret that may vouch for a webhook, as text."""
        extra = (self.webhook_secret,) if self.webhook_secret else ()
        return tuple(secret.get_secret_value() for secret in (*self.stripe_webhook_secrets, *extra))

    @property
    def source_places(self) -> Places:
        """Where the usage of each account is; the address of a table may carry a password."""
        return places.by_account(entry.get_secret_value() for entry in self.usage_sources)

    @property
    def target_places(self) -> Places:
        """Where corrected usage of each account goes: to a folder, one of Stripe's APIs or both, or Metronome."""
        return places.by_account(_parts(self.submit_to or ""))

    @property
    def given_places(self) -> Places:
        """Where people drop the failed-records files of each account."""
        return places.by_account(_parts(self.failed_records_folder or ""))

    @property
    def logs_in_by_oidc(self) -> bool:
        """Whether all is there that a login by the company's own provider needs."""
        needed = self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret, self.console_url
        return all(needed) and bool(self.oidc_claim)

    @property
    def livemode(self) -> bool | None:
        """Whether the API key is a live one; None when there is no key."""
        key = self.stripe_api_key.get_secret_value() if self.stripe_api_key else ""
        return "_live_" in key if key else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, that over `NAME_FILE`, that over `.env`."""
        del file_secret_settings
        return init_settings, env_settings, _NamedFiles(settings_cls), dotenv_settings


class _NamedFiles(PydanticBaseSettingsSource):
    """`NAME_FILE` holds the path of a file whose content is the setting."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Raise SettingsUnusable when the file cannot be read; one whose setting is known already is not."""
        del field
        variable = f"{field_name.upper()}_FILE"
        path = None if field_name in self.current_state else os.environ.get(variable)
        try:
            return (Path(path).read_text(encoding="utf-8") if path else None), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            mend = "make it a readable text file, or unset it"
            raise SettingsUnusable(f"cannot be read: {error}", where=variable, mend=mend) from None

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(None, name)[0] for name in self.settings_cls.model_fields}
        return {name: value for name, value in values.items() if value is not None}


def _parts(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(unwrapped, _SEPARATOR.split(text))))


def unwrapped(text: str) -> str:
    """Return text without the blanks, newlines and one pair of quotes around it."""
    bare = text.strip(_BLANKS)
    quoted = _QUOTED.fullmatch(bare)
    return quoted["inner"].strip(_BLANKS) if quoted else bare


def _require_no_password(place: str) -> None:
    if places.has_password(place):
        raise ValueError("a password stands in the address, which is shown: keys come from the environment")


def _require_one_word(text: str) -> None:
    """Raise ValueError where no header could carry the text, without showing it: it may be a secret."""
    if not _WORD.fullmatch(text):
        odd = next(number for number, character in enumerate(text, 1) if not _WORD.fullmatch(character))
        raise ValueError(f"character {odd} of {len(text)} is a blank, or no ASCII: copy it again")


def load(values: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; `values` win over the environment.

    Raises SettingsUnusable naming the first setting that does not parse.
    """
    settings, faults = read(values)
    if faults:
        raise faults[0]
    return settings


def read(values: Mapping[str, Any] | None = None) -> tuple[Settings, list[SettingsUnusable]]:
    """Read the settings as far as they can be used; those that cannot are listed and stand at their defaults."""
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # what it warns of is told here, with its line
    faults = dotenv_faults(DOTENV)
    given = dict(values or {})
    while True:
        try:
            return Settings(**given), faults
        except ValidationError as error:
            found = [_fault(one["loc"], one["msg"]) for one in error.errors()]
        except SettingsUnusable as error:
            found = [error]
        except (OSError, UnicodeDecodeError):
            return Settings(_env_file=None, **given), faults  # type: ignore[call-arg]
        faults += found
        given |= {name: Settings.model_fields[name].default for name in map(_field_of, found)}


def _fault(place: tuple[int | str, ...], what: str) -> SettingsUnusable:
    name = str(place[0]).upper() if place else "settings"
    return SettingsUnusable(what.removeprefix("Value error, "), where=name, mend="see docs/SETTINGS.md")


def _field_of(fault: SettingsUnusable) -> str:
    name = fault.where.lower()
    return name if name in Settings.model_fields else name.removesuffix("_file")
