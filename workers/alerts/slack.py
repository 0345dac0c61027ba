"""Slack, by an incoming webhook (Slack docs, "Sending messages using incoming webhooks")."""

from http.client import HTTPException
from typing import Final

from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.webhook import WebhookClient, WebhookResponse

from workers.alerts.messages import Notice, Trouble
from workers.alerts.slack_blocks import message
from workers.kernel.errors import MetermendError, Permanent, Transient

TIMEOUT: Final = 10
"""Seconds that one post may take."""
RETRIES: Final = 1
"""Tries after the first one. The SDK's handler for 429 is left out, for it sleeps as long as Slack says."""


class SlackAlerts:
    """Posts to the channel that the webhook's address stands for; the address is a secret and never shown."""

    def __init__(self, webhook_url: str) -> None:
        self._client = WebhookClient(
            webhook_url,
            timeout=TIMEOUT,
            retry_handlers=[
                ConnectionErrorRetryHandler(max_retry_count=RETRIES),
                ServerErrorRetryHandler(max_retry_count=RETRIES),
            ],
        )

    def post(self, notice: Notice | Trouble) -> None:
        made = message(notice)
        try:
            response = self._client.send(text=made.text, blocks=made.blocks)
        except (OSError, HTTPException) as error:
            raise Transient(f"Slack could not be reached: {type(error).__name__}") from error
        except ValueError as error:
            raise Permanent("SLACK_WEBHOOK_URL is no web address - copy it from the Slack app's page") from error
        if response.status_code != 200:
            raise _refusal(response)


def _refusal(response: WebhookResponse) -> MetermendError:
    answer = f"Slack answered {response.status_code} {response.body.strip()[:80]}"
    if response.status_code == 429 or response.status_code >= 500:
        named = next((value for name, value in response.headers.items() if name.lower() == "retry-after"), "")
        return Transient(answer, retry_after=float(named) if str(named).isdecimal() else None)
    return Permanent(f"{answer} - check SLACK_WEBHOOK_URL: the webhook or its channel may be gone")
