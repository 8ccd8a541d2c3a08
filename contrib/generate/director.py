"""The basket for Icinga Director: fields for our variables, and templates for services.

The commands themselves stay in ``icinga2-commands.conf``, as external ones: Director knows no
environment for a command, and a password on the command line is for all to see.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contrib.generate.commands import Command, Variable

OURS = uuid.uuid5(uuid.NAMESPACE_DNS, "check_smtp_health")
"""From it comes the same identifier for the same field, so that a new basket changes an old one."""

PREFIX = "smtp_health_"

TYPES = {"switch": "Boolean", "list": "Array", "text": "String"}

ACRONYMS = ("ca", "dane", "dnsbl", "ehlo", "fqdn", "lmtp", "mta", "mx", "sni", "ssl", "tls")

SPELLING = {
    **{word: word.upper() for word in ACRONYMS},
    "authpass": "password",
    "authtype": "mechanism",
    "authuser": "user",
    "ipv4": "IPv4",
    "ipv6": "IPv6",
    "rcpt": "recipient",
    "starttls": "STARTTLS",
}


def basket(commands: list[Command]) -> dict[str, Any]:
    """Return the basket's document."""
    variables = commands[0].variables
    return {
        "Datafield": {str(number): _field(one) for number, one in enumerate(variables, 1)},
        "ExternalCommand": {command.name: _command(command) for command in commands},
        "ServiceTemplate": {
            name: {
                "check_command": command.name,
                "object_name": name,
                "object_type": "template",
            }
            for command in commands
            for name in [command.name.replace("_", "-")]
        },
    }


def _field(variable: Variable) -> dict[str, Any]:
    visibility = "hidden" if variable.is_secret else "visible"
    return {
        "varname": variable.name,
        "caption": caption(variable.name),
        "description": variable.description,
        "datatype": f"Icinga\\Module\\Director\\DataType\\DataType{TYPES[variable.kind]}",
        "format": None,
        "settings": {"visibility": visibility} if variable.kind == "text" else {},
        "category": None,
        "uuid": str(uuid.uuid5(OURS, variable.name)),
    }


def _command(command: Command) -> dict[str, Any]:
    return {
        "command": "PluginContribDir + /check_smtp_health",
        "fields": [
            {"datafield_id": number, "is_required": "n", "var_filter": None}
            for number, _ in enumerate(command.variables, 1)
        ],
        "methods_execute": "PluginCheck",
        "object_name": command.name,
        "object_type": "external_object",
        "timeout": str(command.timeout),
    }


def caption(name: str) -> str:
    """Return a variable's name as a person would write it."""
    words = [SPELLING.get(word, word) for word in name.removeprefix(PREFIX).split("_")]
    text = " ".join(words)
    return text[0].upper() + text[1:]
