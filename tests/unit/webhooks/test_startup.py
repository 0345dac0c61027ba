"""If these fail, the web starts where it cannot do its work, or opens its console to anybody."""

from typing import Any

import pytest
from pydantic import SecretStr
from werkzeug.security import check_password_hash, generate_password_hash

from webhooks.startup import login_environment, startable
from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import Settings


def some_settings(**changes: Any) -> Settings:
    return Settings(**({"stripe_webhook_secrets": "whsec_made_up", "_env_file": None} | changes))


def test_without_a_signing_secret_it_does_not_start() -> None:
    with pytest.raises(SettingsUnusable, match="STRIPE_WEBHOOK_SECRETS"):
        startable(some_settings(stripe_webhook_secrets=""))


def test_stripes_sample_name_of_the_secret_suffices() -> None:
    startable(some_settings(stripe_webhook_secrets="", webhook_secret="whsec_made_up"))


@pytest.mark.parametrize("text", ["hunter2", "scrypt:32768:8:1$salt", "pbkdf2:sha256:1", "$2b$12$bcrypt"])
def test_a_password_in_place_of_its_hash_is_named(text: str) -> None:
    with pytest.raises(SettingsUnusable, match="CONSOLE_PASSWORD_HASH") as error:
        startable(some_settings(console_password_hash=text))
    assert text not in str(error.value)


@pytest.mark.parametrize("method", ["scrypt", "pbkdf2:sha256:1000"])
def test_a_given_hash_stays_and_nothing_is_printed(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = generate_password_hash("correct horse", method=method)
    started = startable(some_settings(console_password_hash=given, session_secret="kept"))
    assert login_environment(started) == {"CONSOLE_PASSWORD_HASH": given, "SESSION_SECRET": "kept"}
    assert capsys.readouterr().err == ""


def test_a_missing_login_is_made_anew_each_time_and_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    started = startable(some_settings())
    [line] = capsys.readouterr().err.splitlines()
    password = line.partition("password: ")[2].split()[0]
    assert started.console_password_hash
    assert check_password_hash(started.console_password_hash.get_secret_value(), password)
    assert len(password) >= 16
    again = startable(started)
    assert again == started
    assert capsys.readouterr().err == ""
    other = startable(some_settings())
    assert isinstance(other.session_secret, SecretStr)
    assert login_environment(other) != login_environment(started)
