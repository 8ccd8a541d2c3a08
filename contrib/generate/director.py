"""The basket for Icinga Director: fields for our variables, and templates for services.

The commands themselves stay in ``icinga2-commands.conf``, as external ones: Director cannot set the
environment of a command, and everybody can see a password on the command line. Director's kickstart
imports them, too. Both say the same, so that neither undoes the other.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from check_smtp_health.smtp.sasl import MECHANISMS

if TYPE_CHECKING:
    from contrib.generate.commands import Command, Variable

OURS = uuid.uuid5(uuid.NAMESPACE_DNS, "check_smtp_health")
"""Gives each field the same identifier every time, so that a new basket changes the old fields."""

PREFIX = "smtp_health_"

PROGRAM = "check_smtp_health"
"""The command, as the kickstart has it: relative to PluginDir, where Icinga's packages put all."""

FORM = {
    "SMTP: Target": {
        "address": "Address",
        "port": "Port",
        "ipv4": "IPv4 only",
        "ipv6": "IPv6 only",
        "all_addresses": "All addresses of the host",
        "mx": "Mail domain (MX)",
        "expect_mx": "MX hosts expected",
        "min_healthy": "Healthy targets",
        "nameserver": "Name servers",
        "control": "Controls",
        "source": "Source address",
        "proxy": "PROXY protocol",
    },
    "SMTP: Greeting": {
        "fqdn": "HELO name",
        "ehlo": "EHLO",
        "lmtp": "LMTP",
        "expect": "Banner text",
        "require": "Required EHLO keywords",
        "forbid": "Forbidden EHLO keywords",
    },
    "SMTP: TLS": {
        "starttls": "STARTTLS",
        "ssl": "TLS from the first byte",
        "sni": "Server name (SNI)",
        "no_verify": "No verification",
        "ca_file": "CA file",
        "ca_path": "CA directory",
        "cert": "Client certificate",
        "key": "Client certificate's key",
        "tls_min": "Lowest TLS version",
        "certificate": "Validity left",
        "all_certificates": "RSA and ECDSA certificate",
        "ignore_certificate_expiration": "Ignore certificate expiry",
    },
    "SMTP: Login": {
        "authtype": "Mechanism",
        "authuser": "User",
        "authpass": "Password",
        "authpass_file": "Password file",
        "oauth": "OAuth file",
        "auth_insecure": "Cleartext password without TLS",
    },
    "SMTP: Transaction": {
        "from": "Sender",
        "size": "Message size",
        "rcpt": "Recipients",
        "no_relay": "Recipients abroad to refuse",
        "no_rcpt": "Unknown recipients to refuse",
        "command": "Commands",
        "response": "Expected replies",
    },
    "SMTP: State": {
        "warning": "Warning thresholds",
        "critical": "Critical thresholds",
        "timeout": "Timeout",
        "tempfail": "State for transient replies",
        "state": "States of causes",
    },
    "SMTP: DNS": {
        "dnsbl": "DNS blocklists",
        "dnsblkey": "Key of DNS blocklists",
        "dnsbl_key_file": "Key file of DNS blocklists",
        "reverse": "Reverse DNS",
        "dane": "DANE",
        "mta_sts": "MTA-STS",
        "sender": "Sender domains",
        "dkim": "DKIM selectors",
    },
    "SMTP: Round trip": {
        "deliver": "Send a message",
        "mailbox": "Mailboxes",
        "mailboxpass": "Mailbox password",
        "mailbox_pass_file": "Mailbox password file",
        "mailbox_oauth": "Mailbox OAuth file",
        "reply": "Take answers",
        "clean": "Folders to clean",
        "delivery_timeout": "Delivery timeout",
        "require_auth_results": "Required authentication results",
        "verify_message": "Verify the message",
    },
    "SMTP: Output and options": {
        "verbose": "Line per stage",
        "extra_opts": "Options from files",
    },
}
"""The captions of the fields, by category.

Director shows a category as a group of its form, in which it sorts the fields by caption, and the
groups by the first of each. So they begin with ever later letters.
"""

PLACES = {
    name: (group, caption) for group, fields in FORM.items() for name, caption in fields.items()
}

LISTS = {
    "proxy": ("SMTP: PROXY protocol versions", {"v1": "Version 1", "v2": "Version 2"}),
    "tls_min": (
        "SMTP: TLS versions",
        {version: f"TLS {version}" for version in ("1.0", "1.1", "1.2", "1.3")},
    ),
    "authtype": (
        "SMTP: SASL mechanisms",
        {one.name: one.name for one in MECHANISMS},
    ),
    "tempfail": (
        "SMTP: states",
        {state: state.upper() for state in ("ok", "warning", "critical", "unknown")},
    ),
}
"""For variables whose value is one of a few words: the name of the list, and a label by word."""

TYPES = {"switch": "Boolean", "list": "Array"}


def basket(commands: list[Command]) -> dict[str, Any]:
    """Return the basket's document."""
    variables = commands[0].variables
    return {
        "DataList": {name: _list(name, words) for name, words in LISTS.values()},
        "DatafieldCategory": {name: {"category_name": name, "description": None} for name in FORM},
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


def _list(name: str, words: dict[str, str]) -> dict[str, Any]:
    """Return a list, known by its name alone: Director 1.10 takes no identifier."""
    return {
        "list_name": name,
        "owner": PROGRAM,
        "entries": [
            {"entry_name": word, "entry_value": label, "format": "string", "allowed_roles": None}
            for word, label in words.items()
        ],
    }


def _field(variable: Variable) -> dict[str, Any]:
    name = variable.name.removeprefix(PREFIX)
    category, caption = PLACES[name]
    kind, settings = _kind(name, variable)
    return {
        "varname": variable.name,
        "caption": caption,
        "description": variable.description,
        "datatype": f"Icinga\\Module\\Director\\DataType\\DataType{kind}",
        "format": None,
        "settings": settings,
        "category": category,
        "uuid": str(uuid.uuid5(OURS, variable.name)),
    }


def _kind(name: str, variable: Variable) -> tuple[str, dict[str, str]]:
    if name in LISTS:
        words, _ = LISTS[name]
        return "Datalist", {"behavior": "strict", "data_type": "string", "datalist": words}
    if variable.kind == "text":
        return "String", {"visibility": "hidden" if variable.is_secret else "visible"}
    return TYPES[variable.kind], {}


def _command(command: Command) -> dict[str, Any]:
    return {
        "command": PROGRAM,
        "fields": [
            {"datafield_id": number, "is_required": "n", "var_filter": None}
            for number, _ in enumerate(command.variables, 1)
        ],
        "methods_execute": "PluginCheck",
        "object_name": command.name,
        "object_type": "external_object",
        "timeout": str(command.timeout),
    }
