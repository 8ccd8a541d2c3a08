"""THE CAUSE TABLE: what servers say, why, and what to do; data alone. ``causes`` reads it.

From IANA's registry of enhanced status codes, and the replies of Postfix, Exim, Sendmail,
OpenSMTPD, Dovecot, Exchange, Microsoft 365, Google, Yahoo, Mimecast, Proofpoint and others. What
could mean two things has no row. To add a phrase, add a reply that needs it to ``tests/corpus``.
"""

from __future__ import annotations

from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from check_smtp_health.config.settings import State
    from check_smtp_health.errors import Kind, Reason

    CauseName = Literal[
        "our-network",
        "port-blocked",
        "unresolvable",
        "refused",
        "no-route",
        "silent",
        "reset",
        "disk-full",
        "mailbox-full",
        "overloaded",
        "too-many-connections",
        "message-too-big",
        "relay-denied",
        "unknown-recipient",
        "sender-rejected",
        "helo-rejected",
        "no-reverse-dns",
        "login-rejected",
        "login-mechanism",
        "token-rejected",
        "tls-required",
        "tls-broken",
        "certificate",
        "mail-loop",
        "not-accepting",
        "no-proxy-expected",
        "keywords-masked",
        "greylisted",
        "rate-limited",
        "unauthenticated",
        "content",
        "blocklisted",
        "poor-reputation",
    ]
    Group = Literal["network", "resources", "configuration", "policy", "blocklist"]


class Cause(NamedTuple):
    """What a cause is called, who looks after such, and what to do about it, in one sentence.

    ``state`` is the one that it brings about, None where the kind of failure decides.
    """

    name: CauseName
    group: Group
    state: State | None
    advice: str


class Row(NamedTuple):
    """A cause, and what a reply must say to have it.

    ``says`` are phrases, one of which is enough: whole words in lower case without punctuation.
    ``a .. b`` is b somewhat behind a, ``word*`` any word that begins so, ``#`` an IP address, ``%``
    a host behind a word such as "at". A phrase with a dot in it is a host that is named, or the
    beginning of a link: ``list.example``, ``site.example/path``. None of the phrases of ``unless``
    may be there.

    Of ``codes`` one digit stands for a class, 0 for a mailbox that refuses, which has no code; of
    ``statuses`` the class is left out. Empty is any.
    ``advice`` is given in place of the cause's.
    """

    cause: CauseName
    says: str
    unless: str = ""
    stages: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    statuses: tuple[str, ...] = ()
    advice: str = ""


class Status(NamedTuple):
    """An enhanced status code without its class, and the cause that it stands for by itself.

    It decides only where the words say nothing, see ``SAYS_NOTHING``; None where it never does.
    ``also`` are causes that it is rightly seen with, too. ``stages`` and ``codes`` (see ``Row``)
    restrict what it decides.
    """

    code: str
    cause: CauseName | None
    also: tuple[CauseName, ...] = ()
    stages: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()


class Silent(NamedTuple):
    """A failure or finding without a telling reply, and its cause. Empty ``stages`` are any."""

    kind: Kind
    reason: Reason
    cause: CauseName
    stages: tuple[str, ...] = ()
    advice: str = ""


CAUSES: dict[str, Cause] = {
    cause.name: cause
    for cause in (
        Cause(
            "our-network",
            "network",
            "unknown",
            "Look at the network of the monitoring host: none of the controls answers it either.",
        ),
        Cause(
            "port-blocked",
            "network",
            "unknown",
            "Ask who runs the monitoring host's network whether it blocks this port: "
            "controls answer on other ports only.",
        ),
        Cause(
            "unresolvable",
            "network",
            None,
            "Look up the name by hand (dig NAME), and check the resolver of the monitoring host.",
        ),
        Cause(
            "refused",
            "network",
            None,
            "See whether the mail service runs and listens on this port "
            "(Postfix: master.cf and inet_interfaces; Exim: daemon_smtp_ports), "
            "and whether a firewall rejects.",
        ),
        Cause(
            "no-route",
            "network",
            None,
            "Check routing between here and the server (ip route get ADDRESS), "
            "and whether a firewall on the way rejects.",
        ),
        Cause(
            "silent",
            "network",
            None,
            "See whether the server is up and not stuck, "
            "and whether a firewall on the way drops packets.",
        ),
        Cause(
            "reset",
            "network",
            None,
            "Look in the server's log for why it dropped the connection: "
            "a crash, a firewall or a ban of this address.",
        ),
        Cause(
            "disk-full",
            "resources",
            "critical",
            "Free disk space on the server, above all where its queue is "
            "(Postfix: queue_minfree; Exim: check_spool_space).",
        ),
        Cause(
            "mailbox-full",
            "resources",
            "critical",
            "Empty the recipient's mailbox or raise its quota.",
        ),
        Cause(
            "overloaded",
            "resources",
            None,
            "Look for what keeps the server busy: load, memory, a growing queue "
            "(Postfix: default_process_limit; Exim: smtp_load_reserve).",
        ),
        Cause(
            "too-many-connections",
            "resources",
            None,
            "Look at who holds so many connections before raising the limit "
            "(Postfix: smtpd_client_connection_count_limit; "
            "Exim: smtp_accept_max, smtp_accept_max_per_host).",
        ),
        Cause(
            "message-too-big",
            "resources",
            None,
            "Raise the size limit if such messages should pass "
            "(Postfix: message_size_limit; Exim: message_size_limit).",
        ),
        Cause(
            "relay-denied",
            "configuration",
            "critical",
            "Check that the server still accepts mail for this recipient's domain "
            "(Postfix: mydestination, virtual_mailbox_domains, relay_domains; "
            "Exim: the lists local_domains and relay_to_domains).",
        ),
        Cause(
            "unknown-recipient",
            "configuration",
            None,
            "Check that the recipient exists, and the table or directory that the server looks it "
            "up in (Postfix: local_recipient_maps, virtual_mailbox_maps; Exim: its routers).",
        ),
        Cause(
            "sender-rejected",
            "configuration",
            None,
            "Use a sender with -f whose domain exists and receives mail, or allow it "
            "(Postfix: smtpd_sender_restrictions; Exim: the ACL in acl_smtp_mail).",
        ),
        Cause(
            "helo-rejected",
            "configuration",
            None,
            "Give a full host name that exists in DNS with -F "
            "(Postfix: smtpd_helo_restrictions; Exim: helo_verify_hosts).",
        ),
        Cause(
            "no-reverse-dns",
            "configuration",
            None,
            "Give the address that the connection comes from a PTR record whose name leads back "
            "to it (Postfix: reject_unknown_client_hostname; Exim: verify = reverse_host_lookup).",
        ),
        Cause(
            "login-rejected",
            "configuration",
            None,
            "Check user and password, whether the account is locked, and the server's user "
            "database (Postfix: smtpd_sasl_path; Exim: server_condition of the authenticator).",
        ),
        Cause(
            "login-mechanism",
            "configuration",
            None,
            "Choose another mechanism with -A, or enable this one "
            "(Postfix: smtpd_sasl_type and what it points to; Exim: the authenticators).",
        ),
        Cause(
            "token-rejected",
            "configuration",
            None,
            "Check that the access token is new, has the scope for SMTP (or IMAP, POP3), "
            "and belongs to this user.",
        ),
        Cause(
            "tls-required",
            "configuration",
            None,
            "Use TLS with -S, or --ssl where the port expects it at once "
            "(Postfix: smtpd_tls_security_level; Exim: tls_advertise_hosts and the ACLs).",
        ),
        Cause(
            "tls-broken",
            "configuration",
            None,
            "Check the server's key, certificate and TLS settings; its log has the reason "
            "(Postfix: smtpd_tls_chain_files; Exim: tls_certificate, tls_privatekey).",
        ),
        Cause(
            "certificate",
            "configuration",
            None,
            "Install a certificate that is valid for this name, with its whole chain "
            "(Postfix: smtpd_tls_chain_files; Exim: tls_certificate).",
        ),
        Cause(
            "mail-loop",
            "configuration",
            None,
            "Find the two servers that send this message to each other "
            "(Postfix: mydestination, transport_maps, relayhost; Exim: the routers).",
        ),
        Cause(
            "not-accepting",
            "configuration",
            None,
            "This host, domain or mailbox is set to take no mail: "
            "check that it is the right one, or enable it.",
        ),
        Cause(
            "no-proxy-expected",
            "configuration",
            None,
            "Leave out -r, or let the server expect the PROXY protocol "
            "(Postfix: smtpd_upstream_proxy_protocol; Exim: hosts_proxy).",
        ),
        Cause(
            "keywords-masked",
            "configuration",
            None,
            "Turn off SMTP inspection in the firewall on the way "
            "(Cisco: inspect esmtp, fixup protocol smtp); it overwrites what the server says.",
        ),
        Cause(
            "greylisted",
            "policy",
            None,
            "Exempt the monitoring host from greylisting, or accept it: "
            "--state greylisted=ok, since a mail server would try again.",
        ),
        Cause(
            "rate-limited",
            "policy",
            None,
            "Check less often, or exempt the monitoring host from the limit "
            "(Postfix: smtpd_client_event_limit_exceptions; "
            "Exim: ratelimit in the ACLs, smtp_ratelimit_hosts).",
        ),
        Cause(
            "unauthenticated",
            "policy",
            None,
            "Correct SPF, DKIM and DMARC of the sender's domain for the address that the message "
            "leaves from, or use another sender with -f.",
        ),
        Cause(
            "content",
            "policy",
            None,
            "Let the server's spam and virus filter pass the monitoring host's messages; "
            "its log has the rule that matched.",
        ),
        Cause(
            "blocklisted",
            "blocklist",
            None,
            "Ask the list why, and have the address removed once that is fixed, "
            "or exempt the monitoring host from the list on the server.",
        ),
        Cause(
            "poor-reputation",
            "blocklist",
            None,
            "Find out what else is sent from the address or domain that the server names, "
            "and ask the receiving side to review it.",
        ),
    )
}

_RECIPIENT = ("rcpt", "relay", "command", "data", "delivery")
_TRANSACTION = ("mail", *_RECIPIENT)
_SESSION = ("connect", "tls", "banner", "helo", "starttls", "auth", *_TRANSACTION[:-1])
_MESSAGE = ("data", "command", "delivery")
_LOGIN = ("auth", "command", "delivery")

# A list refuses the server's resolver, which the server takes for a listing; or what is listed is
# not the client's address.
_NO_LISTING = (
    "open resolver, query refused, spamhaus.org/returnc, not black*, may be blacklisted, "
    "by recipient, recipient .. blacklisted, too many errors, url*, link*"
)

# What a limit on rates is a consequence of, in Google's replies.
_NO_RATE = "reputation, ptr, unauthenticated, spf, dkim, dmarc, tls connection"

_OF_A_SENDER = "sender verif*, sender address, sender unknown, verification failed for"

# What is full is not the recipient's.
_ANOTHERS_BOX = "sender, senders, your mailbox, full of"

ROWS = (
    Row(
        "unknown-recipient",
        "user unknown, unknown user, user not found, no such user, no such person, "
        "no such recipient, no such mailbox, recipient not found, unknown recipient, "
        "recipient unknown, mailbox unknown, mailbox not found, "
        "mailbox does not exist, user does not exist, user doesnt exist, "
        "account that you tried to reach does not exist, user not exist, address does not exist, "
        "user doesnt have a account, no mailbox here, unrouteable address, utilisateur inconnu, "
        "empfänger unbekannt",
        unless=_OF_A_SENDER,
        stages=_RECIPIENT,
    ),
    Row(
        "unknown-recipient",
        "invalid recipient",  # without that code it is how OpenSMTPD refuses to relay, too
        stages=_RECIPIENT,
        statuses=("1.1",),
    ),
    Row(
        "unknown-recipient",
        "recipient address rejected access denied",
        stages=_RECIPIENT,
        codes=(550,),
        statuses=("4.1",),
        advice=(
            "Check that the recipient exists in the directory of Exchange Online; for hybrid "
            "domains set the domain to internal relay there."
        ),
    ),
    Row(
        "relay-denied",
        "relay access denied, relaying denied, relay denied, relay not permitted, "
        "relay not allowed, unable to relay, not permitted to .. relay, relaying .. prohibited, "
        "not configured to relay, relaying to denied, list of allowed rcpthosts, "
        "invalid credentials for relay",
        unless="name lookup failed, spammer, starttls, greylist*",
        stages=_TRANSACTION,
    ),
    Row(
        "sender-rejected",
        "sender address rejected, sender verify failed, "
        "domain of sender address .. does not exist, "
        "domain name required for sender address, "
        "bad sender address syntax, unresolvable rfc .. from domain, in my badmailfrom, "
        "banned sender",
        unless="sender address rejected not logged in, sender address rejected not owned by, "
        "unverified address",
    ),
    Row(
        "sender-rejected",
        "sender address rejected not logged in, sender address rejected not owned by, "
        "permissions to send as this sender",
        advice=(
            "Log in as a user who may send as this address, or let this one (Postfix: "
            "smtpd_sender_login_maps; Exim: the ACL in acl_smtp_mail)."
        ),
    ),
    Row(
        "helo-rejected",
        "helo command rejected, invalid helo, invalid ehlo, bad helo, helo ehlo argument, "
        "syntactically invalid ehlo, syntactically invalid helo, closing connection ehlo, "
        "closing connection helo",
    ),
    Row(
        "helo-rejected",
        "invalid domain name, is not a full name",
        stages=("helo",),
    ),
    Row(
        "no-reverse-dns",
        "reverse dns, reverse hostname, rdns, fcrdns, ptr record, ptr records, "
        "ptr resource record, cannot find your hostname, ip name lookup failed",
        unless=(
            "ptr records and authentication, relaying denied, spf, generic, dynamic, helo, ehlo, "
            "blocklist*"
        ),
    ),
    Row(
        "login-rejected",
        "authentication failed, authentication unsuccessful, authentication failure, "
        "incorrect authentication data, authentication credentials invalid, "
        "username and password not accepted, invalid login, invalid credentials, "
        "authenticationfailed",
        unless=(
            "generic failure, mechanism, connection lost, internal, try again, "
            "basic authentication, smtpclientauthentication, token, temp*, unavailable"
        ),
        stages=_LOGIN,
        codes=(0, 534, 535),
    ),
    Row(
        "login-rejected",
        "authentication failed reason unavailable",  # Postfix, of what Dovecot does not explain
        stages=_LOGIN,
        codes=(535,),
    ),
    Row(
        "login-rejected",
        "application specific password",
        stages=_LOGIN,
        advice=(
            "Make an application-specific password for this account and use that: it has two-step "
            "verification."
        ),
    ),
    Row(
        "login-rejected",
        "log in .. web browser",
        stages=_LOGIN,
        advice=(
            "Log in to this account with a web browser once and confirm that it is you, then try "
            "again."
        ),
    ),
    Row(
        "login-rejected",
        "smtpclientauthentication is disabled",
        stages=_LOGIN,
        advice=(
            "Allow this mailbox to log in by SMTP in Exchange Online (Set-CASMailbox "
            "-SmtpClientAuthenticationDisabled $false)."
        ),
    ),
    Row(
        "login-mechanism",
        "invalid authentication mechanism, authentication mechanism not supported, "
        "unrecognized authentication type, mechanism .. not available, mechanism .. too weak, "
        "basic authentication is disabled",
        stages=_LOGIN,
        codes=(0, 5),
    ),
    Row(
        "token-rejected",
        "token .. expired",
        stages=_LOGIN,
        codes=(0, 5),
    ),
    Row(
        "tls-required",
        "must issue a starttls, tls required, tls is required, starttls required, "
        "encryption required, encryption is required, encryption needed, "
        "not using a tls connection",
    ),
    Row(
        "tls-broken",
        "tls not available, tls currently unavailable",
        stages=("starttls",),
        codes=(4,),
    ),
    Row(
        "mail-loop",
        "too many hops, hop count exceeded, mail loop, email loop, loop detected, "
        "loops back to myself",
        stages=_TRANSACTION,
    ),
    Row(
        "not-accepting",
        "does not accept mail, nullmx",
        unless="accept mail from, sender, accept mail for",
        codes=(5,),
    ),
    Row(
        "not-accepting",
        "mailbox is disabled, mailbox disabled, account is disabled, "
        "account that you tried to reach is inactive, "
        "account that you tried to reach is disabled, account has been disabled, "
        "disabled recipient",
        unless="sender*, sending, your account",
        stages=_RECIPIENT,
        advice="The recipient's mailbox is disabled: enable it, or watch another one.",
    ),
    Row(
        "disk-full",
        "insufficient system storage, insufficient disk space, insufficient storage, "
        "no space left on device, space shortage, disk full, out of disk space, useddiskspace",
        unless="or disk full, mailbox, quota",
    ),
    Row(
        "mailbox-full",
        "mailbox full, mailbox is full, mailbox for user is full, inbox is full, "
        "inbox is out of storage, over quota, overquota, disk quota exceeded, "
        "quota exceeded mailbox, mailbox quota exceeded, postfach ist voll, buzón .. lleno",
        unless=f"rate, daily, per hour, {_ANOTHERS_BOX}",
        stages=_RECIPIENT,
    ),
    Row(
        "mailbox-full",
        "full, quota exceeded, exceeded .. quota",
        unless=f"rate, daily, per hour, message*, sending, {_ANOTHERS_BOX}",
        stages=_RECIPIENT,
        statuses=("2.2",),
    ),
    Row(
        "overloaded",
        "too much load, load average, server busy, usedversionbuckets",
        codes=(4,),
    ),
    Row(
        "too-many-connections",
        "too many connections, too many concurrent, too many open connections, "
        "too many simultaneous, maximum number of connections, "
        "maximum number of concurrent connections",
        unless="deliveries",
    ),
    Row(
        "message-too-big",
        "message size exceeds, message file too big, message too big, message too large, "
        "message size limit exceeded, exceeded .. message size limits, exceeds my "
        "databytes limit, message length exceeds",
        unless="quota",
        stages=_TRANSACTION,
    ),
    Row(
        "greylisted",
        "greylisted, greylisting, graylisted, liste grise, is not yet authorized to deliver mail",
        unless="not greylist*, greylisting disabled",
        codes=(4,),
    ),
    Row(
        "rate-limited",
        "rate limit*, ratelimit*, message rate, unusual rate, submission rate .. exceeded, "
        "too much mail from, too many recipients from, too many new tls sessions, "
        "too many auth commands, too many login attempts, receiving .. too quickly, "
        "receiving .. at a rate, sending limit exceeded, frequency limited, "
        "recipient thread limit exceeded",
        unless=_NO_RATE,
    ),
    Row(
        "unauthenticated",
        "spf fail*, spf check failed, sender policy framework, dmarc policy, dmarc verification, "
        "dmarc sender invalid, dmarc check failed, fails to pass spf checks, bad spf record*, "
        "per its spf record, fails to pass authentication checks, isnt aligned with, "
        "spf authentication didnt pass, dkim authentication didnt pass, "
        "sender is unauthenticated, doesnt have a dmarc record, because it is unauthenticated, "
        "required authentication level, header based anti spoofing, "
        "senders.yahooinc.com/smtp-error-codes#authentication",
        unless="temporary",
        stages=_TRANSACTION,
    ),
    Row(
        "content",
        "looks like spam, likely unsolicited mail, contains a virus, virus detected, "
        "virus signature detected, detected by clamav, "
        "message content rejected, spam message rejected, likely unsolicited email, "
        "rejected as spam, suspicion of spam, identified as spam, classified as spam, "
        "detected as spam, blocked by spamassassin, spam points, scored as spam, "
        "illegal attachment, nature of the content, content presents a potential security issue, "
        "reject id .. spam, reject id .. infected, ph01 email not accepted",
        unless="your ip",
        stages=_MESSAGE,
    ),
    Row(
        "blocklisted",
        "blocked using, blocked by our rbl, blacklisted, black listed, blocklisted, in a "
        "black list, in an rbl, "
        "in the rbl, one or more dnsbls, on our block list, # .. listed .. %, "
        "address .. listed .. %, banned sending ip, in spamhaus*, spamhaus.org, spamcop.net, "
        "barracudacentral.org, barracudanetworks.com/reputation",
        unless=f"{_NO_LISTING}, spf, dkim",
    ),
    Row(
        "poor-reputation",
        "poor reputation, bad reputation, low reputation, ip reputation, "
        "due to sender reputation, ipcheck.proofpoint.com",
        unless="unusual, none bad reputation, or poor reputation",
    ),
)
"""What replies say. The order does not matter."""

STATUSES: dict[str, Status] = {
    status.code: status
    for status in (
        Status("1.1", "unknown-recipient", stages=_RECIPIENT, codes=(5,)),
        Status("1.7", "sender-rejected"),
        Status("1.8", "sender-rejected"),
        Status("1.10", None, ("not-accepting", "unknown-recipient")),
        Status("2.1", None, ("not-accepting", "unknown-recipient", "rate-limited")),
        Status("2.2", "mailbox-full", stages=_RECIPIENT),
        Status("2.3", "message-too-big", stages=_TRANSACTION),
        Status(
            "3.1",
            "disk-full",
            ("overloaded",),
        ),
        Status("3.4", "message-too-big", stages=_TRANSACTION),
        Status(
            "4.5",
            "overloaded",
            ("disk-full", "rate-limited", "too-many-connections"),
            codes=(4,),
        ),
        Status("4.6", "mail-loop", stages=_TRANSACTION),
        Status(
            "7.8",
            "login-rejected",
            ("login-mechanism", "token-rejected"),
            stages=_LOGIN,
            codes=(5,),
        ),
        Status("7.10", "tls-required"),
        Status("7.11", "tls-required", codes=(538,)),
        Status("7.20", "unauthenticated"),
        Status("7.21", "unauthenticated"),
        Status("7.22", "unauthenticated"),
        Status("7.23", "unauthenticated", ("no-reverse-dns",)),
        Status("7.24", "unauthenticated"),
        Status("7.25", "no-reverse-dns"),
        Status("7.26", "unauthenticated", codes=(5,)),
        Status("7.28", "rate-limited", ("poor-reputation",)),
        # Microsoft's: words that sound like load, for what is a verdict about the address.
        Status("7.500", None),
    )
}
"""Enhanced status codes that servers use in one meaning, by code."""

SAYS_NOTHING = (
    "a action address again an at be because been big by command denied does email error "
    "failed failure fixed for found has have i is it large later length limit mail mailbox "
    "maximum message no not of on or permanent permanently please recipient refused rejected "
    "requested retry server size sorry taken temporarily that the this to too try unable "
    "unavailable unknown user was with you your"
)
"""Words that say no more than a code does. Other words may stand for another cause."""

KINDS = (
    Silent("unreachable", "refused", "refused"),
    Silent("unreachable", "no route", "no-route"),
    Silent("unreachable", "unanswered", "silent"),
    Silent("unreachable", "controls silent", "our-network"),
    Silent("unreachable", "other ports only", "port-blocked"),
    Silent("unresolvable", "", "unresolvable"),
    Silent("unresolvable", "unanswered", "unresolvable"),
    Silent("unresolvable", "controls silent", "our-network"),
    Silent(
        "unresolvable",
        "null mx",
        "not-accepting",
        advice="The domain says in DNS that it takes no mail (null MX, RFC 7505): "
        "correct its MX records if it should.",
    ),
    Silent("timed_out", "", "unresolvable", ("resolve",)),
    Silent("timed_out", "", "silent", _SESSION),
    Silent("timed_out", "controls silent", "our-network"),
    Silent("timed_out", "other ports only", "port-blocked"),
    Silent("disconnected", "reset", "reset"),
    Silent(
        "disconnected",
        "client certificate wanted",
        "certificate",
        advice="The server wants a certificate of the client: give one with --cert and --key.",
    ),
    Silent(
        "disconnected",
        "client certificate rejected",
        "certificate",
        advice="The server rejects the client's certificate: give another one with --cert.",
    ),
    Silent(
        "handshake_failed",
        "client certificate rejected",
        "certificate",
        advice="The server rejects the client's certificate: give another one with --cert.",
    ),
    Silent("handshake_failed", "tls too old", "tls-broken"),
    Silent("untrusted", "", "certificate"),
    Silent(
        "violation",
        "tls spoken",
        "tls-required",
        advice="This port speaks TLS from the first byte: use --ssl.",
    ),
    Silent("violation", "proxy answered", "no-proxy-expected"),
    Silent("rejected", "proxy answered", "no-proxy-expected"),
    Silent("not_offered", "mechanism", "login-mechanism"),
    Silent("not_offered", "masked", "keywords-masked"),
    Silent("unmatched", "masked", "keywords-masked"),
    Silent("misconfigured", "masked", "keywords-masked"),
    Silent(
        "listed",
        "",
        "blocklisted",
        advice="Ask the list why and have the server's address removed once that is fixed.",
    ),
    Silent("unauthenticated", "", "unauthenticated"),
)
"""Causes of failures without a reply that says more."""

LISTS = (
    ("spamhaus", "spamhaus.org"),
    ("spamcop", "spamcop.net"),
    ("barracuda", "barracudacentral.org"),
    ("hostkarma", "hostkarma.junkemailfilter.com"),
)
"""Blocklists that replies name, and the zone that each name stands for."""

TOKEN_ADVICE: dict[Kind, str] = {
    "violation": "Look at the URL that tokens are asked of: the line says what its answer lacks.",
}
"""The same where no mail server is asked, but a token endpoint."""

ADVICE: dict[Kind, str] = {
    "unresolvable": "Look at the name, and at the resolver of the monitoring host.",
    "unreachable": "See whether the service is up, and whether a firewall rejects.",
    "timed_out": "The line names the stage; -t SECONDS:STATE sets the deadline and this state.",
    "disconnected": "Look into the server's log, which says why.",
    "violation": "Check that it is the right port; -vv shows what came.",
    "handshake_failed": "The line says why: no TLS on this port, no cipher in common, or the like; "
    "the server's log may say more, as of a certificate that it could not load.",
    "untrusted": "Install a certificate that is valid for this name, with its whole chain.",
    "rejected": "Search the server's log for the reply; give -e 554 where a refusing "
    "banner is as it "
    "should be.",
    "transient": "The server may take it later; --tempfail STATE sets this state.",
    "not_offered": "Check the server's configuration, or ask for less.",
    "forbidden": "Turn the keyword off in the server's configuration, or allow it.",
    "open_relay": "Anyone can send spam through this server, unless it trusts the monitoring host "
    "or the login of this check.",
    "backscatter": "Bounces of such mail go to strangers: make the server reject unknown users.",
    "unproven": "The line says why: "
    "run the check from a host, and with a sender, that gets that far.",
    "unmatched": "Check that it is the right server.",
    "undelivered": "Where the mailbox did not answer, see to it; else look for the reply in the "
    "mail server's log and queue. --delivery-timeout gives more time.",
    "bounced": "The line has the reason.",
    "duplicated": "Look for an alias that leads to the mailbox twice.",
    "misplaced": "Look for a filter that takes the message for spam.",
    "unauthenticated": "-v shows all results.",
    "unauthorised": "Correct what the domain publishes: the line says which record lacks what.",
    "undeleted": "A later run deletes it, once it is a day old.",
    "no_policy": "Publish the record or policy, or correct it.",
    "insecure": "Sign the zone, or renew its signatures.",
    "uncovered": "Correct the policy or the record; senders hold the mail back.",
    "listed": "Ask the list why; -w dnsbl=0 makes it WARNING, -c dnsbl=1 lets one listing pass.",
    "misconfigured": "Correct the zone, or the server's name.",
    "noted": "Nobody has to act at once; a blocklist that is dead is better left out.",
    "unanswered": "The line says who gave no answer; for DNS look at the resolver of the "
    "monitoring host, or at --nameserver.",
    "local": "The line says what the monitoring host lacks.",
    "interrupted": "Raise the engine's own time limit, or lower -t.",
}
"""What to do about a kind of failure or finding whose cause is unknown."""
