"""What a run is to do: the user's words, checked, as values in groups. ``build`` makes them.

Each group is one concern, built by one function of ``build`` and read by the modules that need it.
Those that few runs have are in ``accounts``.
"""

from __future__ import annotations

from check_smtp_health.config.option_table import POLICIES
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from check_smtp_health.config.accounts import Login, RoundTrip, Secret
    from check_smtp_health.config.hosts import Control
    from check_smtp_health.config.keywords import Keyword
    from check_smtp_health.config.thresholds import Limits
    from check_smtp_health.report import Host

    State = Literal["ok", "warning", "critical", "unknown"]

SMTP_PORT = 25

SUBMISSIONS_PORT = 465
"""Implicit TLS (RFC 8314 section 3.3): a server there waits for the client to begin it."""

SIZE_DIGITS = 20
"""Digits of a message size (RFC 1870 section 3)."""


class Endpoint(NamedTuple):
    """Which servers, and how to reach them. ``family`` is 4, 6 or None for both.

    ``timeout`` is the deadline of the whole run, in seconds; ``proxy`` the version of the PROXY
    protocol, empty where no header is sent; ``controls`` are asked when a target does not answer;
    ``expect_mx`` are the hosts that an MX set must have, none where any will do.
    """

    hosts: tuple[Host, ...]
    port: int
    timeout: float
    family: int | None = None
    source: str | None = None
    proxy: str = ""
    all_addresses: bool = False
    mx: bool = False
    min_healthy: int | None = None
    nameservers: tuple[tuple[str, int], ...] = ()
    controls: tuple[Control, ...] = ()
    expect_mx: tuple[Host, ...] = ()

    @property
    def has_several(self) -> bool:
        """Whether the run may have several targets, told apart in what it prints."""
        is_asked_for = self.mx or self.all_addresses or self.min_healthy is not None
        return is_asked_for or len(self.hosts) > 1


class Expect(NamedTuple):
    """What the banner must be: its reply code, and a text that it must contain."""

    code: int
    text: str


class Greeting(NamedTuple):
    """What is said first, and what the server must say and offer.

    ``verb`` is HELO, EHLO or LHLO; ``fqdn`` is None where the local address is to be said.
    """

    verb: str
    expect: Expect
    fqdn: str | None = None
    require: tuple[Keyword, ...] = ()
    forbid: tuple[Keyword, ...] = ()
    needs_extensions: bool = False
    """Whether the run is pointless without the reply to EHLO."""


class Tls(NamedTuple):
    """``mode`` is ``starttls``, ``implicit`` or empty; ``sni`` replaces the host's own name."""

    mode: Literal["", "starttls", "implicit"] = ""
    sni: str | None = None
    verify: bool = True
    ca_file: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    minimum: str = "1.2"
    judge_expiry: bool = True


class Transaction(NamedTuple):
    """What is asked once the server knows us. Addresses are without angle brackets.

    ``commands`` are pairs of a line and the text that its reply must contain.
    """

    reverse_path: str | None = None
    size: int | None = None
    recipients: tuple[str, ...] = ()
    no_relay: tuple[str, ...] = ()
    no_rcpt: tuple[str, ...] = ()
    commands: tuple[tuple[str, str | None], ...] = ()

    @property
    def is_wanted(self) -> bool:
        """Whether MAIL must be sent."""
        return bool(
            self.reverse_path is not None or self.size is not None or self.recipients or self.tests
        )

    @property
    def tests(self) -> tuple[str, ...]:
        """The addresses that must be refused."""
        return (*self.no_relay, *self.no_rcpt)

    @property
    def tests_only(self) -> bool:
        """Whether nothing has to be accepted, so that a refused MAIL may be an answer."""
        return bool(self.tests) and not self.recipients and self.size is None

    @property
    def is_international(self) -> bool:
        """Whether an address needs SMTPUTF8 (RFC 6531)."""
        return not all(
            address.isascii()
            for address in (self.reverse_path or "", *self.recipients, *self.tests)
        )


class Policies(NamedTuple):
    """The options that ask for policies, by name, with their words: ``policy`` reads them.

    ``dnsbl_key`` is the customer's key that some lists want in their zone.
    """

    given: Mapping[str, tuple[str, ...]]
    dnsbl_key: Secret | None = None

    def asks(self, option: str) -> bool:
        """Whether the option was given."""
        return option in self.given

    @property
    def of_dns(self) -> list[str]:
        """The options that were given and ask name servers."""
        return [option for option in self.given if POLICIES[option] != "tls"]

    @property
    def need_message(self) -> bool:
        """Whether the message that came is wanted whole."""
        return any(POLICIES[option] == "message" for option in self.given)


class Judging(NamedTuple):
    """How the outcome is judged and shown. States are words in lower case.

    ``states`` has those of causes and kinds of failures that the user wants to be different.
    """

    limits: Limits
    timeout_state: State
    tempfail: State
    verbose: int = 0
    keeps_transcript: bool = False
    states: Mapping[str, State] = {}  # nobody changes it


class Settings(NamedTuple):
    """A checked command line. ``login`` and ``roundtrip`` are None where there is none."""

    endpoint: Endpoint
    greeting: Greeting
    tls: Tls
    login: Login | None
    transaction: Transaction
    roundtrip: RoundTrip | None
    policies: Policies
    judging: Judging

    @property
    def longest(self) -> float:
        """Seconds after which the run must have ended: all deadlines, one after the other."""
        roundtrip, own = self.roundtrip, self.endpoint.timeout
        if roundtrip is None or not roundtrip.mailboxes:
            return own
        return own + roundtrip.timeout + (own if self.policies.need_message else 0.0)
