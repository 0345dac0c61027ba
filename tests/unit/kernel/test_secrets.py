"""If these fail, a password of the ledger, of Redis or of Stripe stands in a log or on a screen."""

import logging
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from workers.kernel import logs
from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import Settings, load, read

CANARY = "canary-4711"
CARRYING = {
    "stripe_api_key": f"sk_test_{CANARY}",
    "stripe_webhook_secrets": f"whsec_{CANARY},whsec_2{CANARY}",
    "webhook_secret": f"whsec_{CANARY}",
    "redis_url": f"redis://metermend:{CANARY}@redis.example/0",
    "database_url": f"postgresql://metermend:{CANARY}@db.example/ledger?sslpassword={CANARY}",
    "usage_sources": f"postgresql://metermend:{CANARY}@db.example/billing?table=usage",
    "slack_webhook_url": f"https://hooks.slack.com/services/T/B/{CANARY}",
    "slack_bot_token": f"xoxb-{CANARY}",
    "console_password_hash": f"scrypt:1:1:1${CANARY}$00",
    "session_secret": CANARY,
    "metrics_token": CANARY,
    "metronome_token": CANARY,
    "oidc_client_secret": CANARY,
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_setting_that_can_carry_a_secret_is_one() -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret == set(CARRYING)
    assert all(CANARY in _told(load({name: value}), name) for name, value in CARRYING.items())


def test_settings_shown_in_any_way_show_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(CARRYING)
    shown = [repr(settings), str(settings), f"{settings}", settings.model_dump_json(), str(settings.model_dump())]
    shown += [repr(getattr(settings, name)) for name in CARRYING]
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        for form in ("json", "pretty"):
            logs.configure(form)
            logs.get_logger("test").warning("settings", settings=settings, redis=settings.redis_url)
            logging.getLogger("test").warning("settings %s %r", settings, settings.database_url)
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.reset_defaults()
    printed = "".join(capsys.readouterr())
    assert "settings" in printed
    assert CANARY not in "".join([*shown, printed])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stripe_api_key", f"sk_test_{CANARY} \N{EURO SIGN}"),
        ("slack_webhook_url", f"https://hooks.slack.com/{CANARY} x"),
        ("stripe_webhook_secrets", f"whsec_{CANARY}\tx"),
        ("usage_sources", f"acct-1=postgresql://metermend:{CANARY}@db.example/billing?table=usage"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_and_not_shown(name: str, value: str) -> None:
    _, [fault] = read({name: value})
    assert fault.where == name.upper()
    assert CANARY not in f"{fault} {fault!r} {fault.__cause__!r} {fault.__context__!r}"


SHOWN = ["archive_url", "usage_sources", "submit_to", "console_url"]
SHOWN += ["stripe_api_base", "stripe_files_base", "stripe_meter_events_base"]


@pytest.mark.parametrize("name", SHOWN)
def test_an_address_that_is_shown_carries_no_password(name: str) -> None:
    """Places and addresses stand in reports, alerts and on pages; their keys come from the environment."""
    scheme = "https" if "url" in name or "base" in name else "s3"
    with pytest.raises(SettingsUnusable, match="password") as refused:
        load({name: f"{scheme}://user:{CANARY}@there.example/x"})
    assert CANARY not in str(refused.value)


def _told(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else value[0].get_secret_value()
