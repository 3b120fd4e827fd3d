"""The kinds of channels by name; a kind is imported when it is first used."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from heartbeat.channels import Channel

KINDS = {
    "email": "heartbeat.channels.email:Email",
    "webhook": "heartbeat.channels.webhook:Webhook",
    "alertmanager": "heartbeat.channels.alertmanager:Alertmanager",
    "slack": "heartbeat.channels.slack:Slack",
    "teams": "heartbeat.channels.teams:Teams",
    "discord": "heartbeat.channels.discord:Discord",
    "telegram": "heartbeat.channels.telegram:Telegram",
    "ntfy": "heartbeat.channels.ntfy:Ntfy",
    "pagerduty": "heartbeat.channels.pagerduty:PagerDuty",
    "opsgenie": "heartbeat.channels.opsgenie:Opsgenie",
    "command": "heartbeat.channels.command:Command",
    "apprise": "heartbeat.channels.apprise:Apprise",
}


@cache
def load_kind(kind: str) -> type[Channel]:
    """Return the class of a kind. Raises ``KeyError`` for one that does not exist."""
    module, _, name = KINDS[kind].partition(":")
    found: type[Channel] = getattr(import_module(module), name)
    return found
