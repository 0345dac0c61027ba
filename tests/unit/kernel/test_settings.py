"""If these fail, the service runs with other settings than the operator wrote, or shows a secret."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import SecretStr

from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import Settings, load


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, and nothing of this machine's environment that is a setting."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_but_the_keys_has_a_default() -> None:
    settings = load()
    assert settings.port == 4242
    assert settings.database_url.get_secret_value() == "sqlite:///.metermend/ledger.db"
    assert settings.signing_secrets == ()


def test_secrets_of_both_destinations_and_a_rolled_one_stand_side_by_side() -> None:
    settings = load({"stripe_webhook_secrets": " whsec_a, whsec_b ,,whsec_c", "webhook_secret": "whsec_d"})
    assert settings.signing_secrets == ("whsec_a", "whsec_b", "whsec_c", "whsec_d")


def test_the_environment_wins_over_a_secret_file_and_that_over_dotenv(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / ".env").write_text("STRIPE_API_KEY=sk_test_dotenv\nPORT=1\n")
    assert secret(load()) == "sk_test_dotenv"
    (bare / "key").write_text("sk_test_file\n")
    monkeypatch.setenv("STRIPE_API_KEY_FILE", str(bare / "key"))
    assert secret(load()) == "sk_test_file"
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_environment")
    assert secret(load()) == "sk_test_environment"
    assert secret(load({"stripe_api_key": "sk_test_argument"})) == "sk_test_argument"
    assert load().port == 1


def test_a_list_of_secrets_may_stand_in_a_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "secrets").write_text("whsec_a,whsec_b\n")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRETS_FILE", str(bare / "secrets"))
    assert load().signing_secrets == ("whsec_a", "whsec_b")


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "")
    settings = load()
    assert (settings.port, settings.slack_webhook_url) == (4242, None)


def test_a_missing_secret_file_is_named_in_one_line(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_KEY_FILE", str(bare / "nothing"))
    with pytest.raises(SettingsUnusable, match="nothing") as error:
        load()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "many"),
        ("webhook_tolerance", 0),
        ("max_attempts", 10),
        ("log_format", "xml"),
        ("stripe_timeout", 0),
    ],
)
def test_a_setting_that_does_not_parse_is_named_in_one_line(name: str, value: Any) -> None:
    with pytest.raises(SettingsUnusable, match=name.upper()) as error:
        load({name: value})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["sk_live_made_up", "whsec_made_up"])
def test_no_secret_is_ever_shown(value: str) -> None:
    settings = load(
        {
            "stripe_api_key": value,
            "stripe_webhook_secrets": value,
            "webhook_secret": value,
            "slack_webhook_url": value,
            "console_password_hash": value,
            "session_secret": value,
        }
    )
    assert value not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_test_x", False), ("rk_test_x", False), ("sk_live_x", True), ("rk_live_x", True), (None, None)],
)
def test_the_mode_is_that_of_the_key(key: str | None, live: bool | None) -> None:
    assert load({"stripe_api_key": key}).livemode is live


WRAPPINGS = [
    "{}\n",
    "{}\r\n",
    " {} ",
    "\t{}",
    '"{}"',
    "'{}'",
    "'{}'\n",
    '" {}\n"',
    "\ufeff{}",
    "\u200b{}\u200b",
    "\xa0{}\u2060",
    "\n\n{}\n\n",
]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_API_KEY", "sk_test_made_up"),
        ("WEBHOOK_SECRET", "whsec_made_up"),
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T/B/made_up"),
        ("SESSION_SECRET", "made up"),
        ("STRIPE_API_BASE", "https://api.stripe.com"),
        ("REDIS_URL", "redis://there:6379/0"),
        ("DATABASE_URL", "postgresql://there/ledger"),
        ("SUBMIT_TO", "s3://bucket/folder"),
        ("RULES_FILE", "rules of ours.toml"),
    ],
)
def test_what_comes_along_when_a_value_is_copied_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, wrapping: str
) -> None:
    """A newline behind the key would end every call to Stripe as if the network were down."""
    monkeypatch.setenv(name, wrapping.format(value))
    found = getattr(load(), name.lower())
    assert (found.get_secret_value() if isinstance(found, SecretStr) else str(found)) == value


@pytest.mark.parametrize("wrapping", [one for one in WRAPPINGS if one != '" {}\n"'])
@pytest.mark.parametrize("between", [",", "\n", "\r\n", " , ", ",\n"])
def test_each_of_several_secrets_is_read_without_its_wrapping(
    monkeypatch: pytest.MonkeyPatch, wrapping: str, between: str
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRETS", between.join(map(wrapping.format, ("whsec_a", "whsec_b"))))
    assert load().signing_secrets == ("whsec_a", "whsec_b")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRETS", wrapping.format(f"whsec_a{between}whsec_b"))
    assert load().signing_secrets == ("whsec_a", "whsec_b")


@given(
    words=st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="'\",", categories=["L", "N", "P"]), min_size=1)
    ),
    blanks=st.text(" \t\r\n\ufeff\u200b\xa0", max_size=4),
)
def test_no_blank_around_a_secret_ever_reaches_it(words: list[str], blanks: str) -> None:
    given_secrets = ",".join(f"{blanks}{word}{blanks}" for word in words)
    assert load({"stripe_webhook_secrets": given_secrets}).signing_secrets == tuple(words)


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("STRIPE_API_KEY", "sk_test_abc def", "character 12 of 15"),
        ("STRIPE_API_KEY", "sk_test_abc\ndef", "character 12 of 15"),
        ("STRIPE_API_KEY", "Bearer sk_test_abc", "character 7"),
        ("STRIPE_API_KEY", "sk_test_abc\u200bdef", "character 12"),
        ("STRIPE_API_KEY", "sk_test_äbc", "character 9"),
        ("STRIPE_API_KEY", "sk_test_\u0430bc", "character 9"),
        ("STRIPE_API_KEY", "sk_test_\x1babc", "character 9"),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_a,whsec_b c", "character 8 of 9"),
        ("WEBHOOK_SECRET", "whsec_…", "character 7 of 7"),
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/ services", "character 25"),
        ("STRIPE_API_BASE", "https://api stripe.com", "character 12"),
        ("STRIPE_FILES_BASE", "files.stripe.com", "no web address"),
        ("STRIPE_METER_EVENTS_BASE", "https:///", "no web address"),
        ("CONSOLE_URL", "console.example.com", "no web address"),
    ],
)
def test_a_value_that_no_header_can_carry_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, place: str
) -> None:
    """Else the network is blamed for it, and every event waits."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsUnusable, match=place) as error:
        load()
    assert error.value.where == name
    assert value not in str(error.value)


@pytest.mark.parametrize("value", [" ", "\n", '""', "'' ", "\ufeff"])
def test_a_blank_key_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", value)
    assert load().stripe_api_key is None


def secret(settings: Settings) -> str | None:
    return settings.stripe_api_key.get_secret_value() if settings.stripe_api_key else None
