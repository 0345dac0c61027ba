"""Slack by a bot's token: a notice is one message, changed in place, with its details in the thread.

Sources: Slack docs, "chat.postMessage method", "chat.update method", "auth.test method" and "Rate limits".
"""

import re
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Final

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse

from workers.alerts.messages import Alert, Notice
from workers.alerts.slack import (
    TIMEOUT,
    Message,
    channel_name,
    details,
    is_away,
    message,
    retry_after,
    retry_handlers,
    summary,
    unreached,
)
from workers.kernel.errors import MetermendError, Permanent, Transient
from workers.kernel.logs import get_logger

log = get_logger(__name__)

API: Final = "https://slack.com/api/"
_SCOPE: Final = "chat:write"
_CHANNEL_ID: Final = re.compile("[CGD][A-Z0-9]{2,}")
_LATER: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
"""Slack's own errors that pass."""
_CANNOT_CHANGE: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class SlackBot:
    """Posts to one channel. A message is named `channel/ts`, with the channel's id: updates take no name."""

    def __init__(self, token: str, channel: str, *, api: str = API) -> None:
        self.channel = channel_name(token, channel)
        self._posts_to = channel
        self._client = WebClient(token, base_url=api, timeout=TIMEOUT, retry_handlers=retry_handlers())

    def post(self, alert: Alert, earlier: str | None = None) -> str | None:
        if not isinstance(alert, Notice):
            self._send(message(alert))
            return None
        name = (self._change(earlier, summary(alert)) if earlier else None) or self._send(summary(alert))
        self._explain(name, alert)
        return name

    def whoami(self) -> str:
        """Return whose token it is, as Slack tells. Raises Transient and Permanent."""
        who = _answered(self._client.auth_test)
        scopes = {name.lower(): value for name, value in who.headers.items()}.get("x-oauth-scopes")
        if scopes is not None and _SCOPE not in re.split(r"[,\s]+", scopes):
            raise Permanent(f"the bot may not post - {_MENDS['missing_scope']}")
        return f"{who.get('user')} of {who.get('team')}"

    def is_member(self) -> bool | None:
        """Whether the bot is in its channel; None where it may not ask, or the channel is given by its name.

        Raises Transient, and Permanent where there is no such channel.
        """
        if not _CHANNEL_ID.fullmatch(self._posts_to):
            return None
        try:
            found = _answered(self._client.conversations_info, channel=self._posts_to)
        except _NotAllowed:
            return None
        member: bool | None = (found.get("channel") or {}).get("is_member")
        return member

    def _send(self, made: Message, **thread: str) -> str:
        sent = _answered(
            self._client.chat_postMessage, channel=self._posts_to, text=made.text, blocks=made.blocks, **thread
        )
        return f"{sent['channel']}/{sent['ts']}"

    def _change(self, name: str, made: Message) -> str | None:
        """Change a message; return None where it is there no more, or must not be changed any longer."""
        channel, _, ts = name.partition("/")
        try:
            _answered(self._client.chat_update, channel=channel, ts=ts, text=made.text, blocks=made.blocks)
        except _Unchangeable:
            return None
        return name

    def _explain(self, name: str, notice: Notice) -> None:
        """Put the details into the thread. The message itself says what to do: it is not posted again for them."""
        try:
            self._send(details(notice), thread_ts=name.partition("/")[2])
        except (Transient, Permanent) as error:
            log.warning("alert_without_details", subject=notice.subject, error=str(error))


class _Unchangeable(Permanent):
    """The message is there no more, or must not be changed any longer."""


class _NotAllowed(Permanent):
    """The bot lacks the scope for what it asked."""


def _answered(call: Callable[..., SlackResponse], **said: Any) -> SlackResponse:
    """Ask Slack; raises Transient where it may answer later, Permanent where it will not."""
    try:
        return call(**said)
    except SlackApiError as error:
        raise _refusal(error.response) from error
    except (OSError, HTTPException, SlackClientError, ValueError) as error:
        raise unreached(error) from error


def _refusal(response: SlackResponse) -> MetermendError:
    """Return what an answer means that is no yes."""
    status, said = response.status_code, str(response.get("error") or "")[:80]
    if is_away(status) or said in _LATER:
        return Transient(f"Slack answered {status} {said}", retry_after=retry_after(response.headers))
    if said in _CANNOT_CHANGE:
        return _Unchangeable(f"Slack answered {said}")
    kind = _NotAllowed if said == "missing_scope" else Permanent
    return kind(f"Slack answered {said or status} - {_MENDS.get(said, _MEND)}")


_MEND: Final = "check SLACK_BOT_TOKEN and SLACK_CHANNEL"
_MENDS: Final = {
    "channel_not_found": "name a channel in SLACK_CHANNEL, and invite the bot into it",
    "not_in_channel": "invite the bot into the channel of SLACK_CHANNEL",
    "is_archived": "name another channel in SLACK_CHANNEL",
    "missing_scope": "give the bot the scope chat:write",
    **dict.fromkeys(
        ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"),
        "copy the bot token (xoxb-...) from the Slack app's page into SLACK_BOT_TOKEN",
    ),
}
