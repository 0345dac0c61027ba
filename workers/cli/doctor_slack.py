"""Which way alerts go, and whether Slack would take one. Nothing is posted: `metermend alert test` does that."""

from workers.alerts import SlackAlerts, SlackBot
from workers.alerts.slack_bot import API
from workers.cli.doctor_check import Noted
from workers.kernel.settings import Settings

TRY: str = "`metermend alert test` tells whether a message arrives"


def alerts_way(settings: Settings, slack: str = API) -> str:
    """Tell which way alerts go. Raises Noted, Transient and Permanent."""
    token, channel = settings.slack_bot_token, settings.slack_channel
    if token and channel:
        return _by_bot(SlackBot(token.get_secret_value(), channel, api=slack), channel)
    if settings.slack_webhook_url:
        SlackAlerts(settings.slack_webhook_url.get_secret_value()).ask()
        return "Slack, by the incoming webhook"
    return "printed by the clock process; SLACK_WEBHOOK_URL or SLACK_BOT_TOKEN brings them to Slack"


def _by_bot(bot: SlackBot, channel: str) -> str:
    who = bot.whoami()
    if bot.is_member() is False:
        raise Noted(f"{who} is not in {channel}", f"invite the bot into it; {TRY}")
    return f"Slack, as {who}, into {channel}; messages are changed in place"
