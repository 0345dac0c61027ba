"""If these fail, the service runs with other settings than the operator wrote, or shows a secret."""

from pathlib import Path
from typing import Any

import pytest

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
    assert settings.database_url == "sqlite:///.metermend/ledger.db"
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


def secret(settings: Settings) -> str | None:
    return settings.stripe_api_key.get_secret_value() if settings.stripe_api_key else None
