"""Real filters for a Postfix: OpenDKIM, which signs or verifies, and OpenDMARC, which judges."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import needs
from tests.servers.loopback import free_port, is_listening
from tests.servers.process import started

AUTHOR = "mail.example.org"
"""Who the results are by: the authserv-id."""

SIGNING = """\
Mode s
KeyTable {folder}/keys
SigningTable refile:{folder}/signers
MultipleSignatures yes
Canonicalization relaxed/relaxed
"""

VERIFYING = f"""\
Mode v
AuthservID {AUTHOR}
AlwaysAddARHeader yes
Nameservers 127.0.0.1
"""

COMMON = """\
Socket inet:{port}@127.0.0.1
Background no
Syslog no
UserID root
RequireSafeKeys no
"""

JUDGING = f"""\
Socket inet:{{port}}@127.0.0.1
Background false
Syslog false
AuthservID {AUTHOR}
TrustedAuthservIDs {AUTHOR}
RejectFailures false
SPFIgnoreResults true
SPFSelfValidate true
"""


@dataclass(frozen=True)
class Signing:
    """How a domain's mail is signed.

    ``keys`` are the private ones, in PEM, by selector; ``signers`` are pairs of a sender and a
    selector.
    """

    domain: str
    keys: Mapping[str, bytes]
    signers: tuple[tuple[str, str], ...]


@contextlib.contextmanager
def opendkim(folder: Path, signing: Signing | None = None) -> Iterator[str]:
    """Run an OpenDKIM that signs, or one that verifies; yields it as Postfix names a milter."""
    folder.mkdir()
    port = free_port()
    text = VERIFYING
    if signing is not None:
        text = SIGNING.format(folder=folder)
        lines = []
        for selector, pem in signing.keys.items():
            path = folder / f"{selector}.pem"
            path.write_bytes(pem)
            lines.append(f"{selector} {signing.domain}:{selector}:{path}\n")
        (folder / "keys").write_text("".join(lines))
        (folder / "signers").write_text("".join(f"{who} {name}\n" for who, name in signing.signers))
    (folder / "opendkim.conf").write_text(COMMON.format(port=port) + text)
    yield from _running([needs.program("opendkim"), "-f", "-x"], folder / "opendkim.conf", port)


@contextlib.contextmanager
def opendmarc(folder: Path, prefix: tuple[str, ...]) -> Iterator[str]:
    """Run an OpenDMARC; ``prefix`` is a command that has it see another /etc/resolv.conf."""
    folder.mkdir()
    port = free_port()
    (folder / "opendmarc.conf").write_text(JUDGING.format(port=port))
    command = [*prefix, needs.program("opendmarc"), "-f", "-c"]
    yield from _running(command, folder / "opendmarc.conf", port)


def _running(command: list[str], configuration: Path, port: int) -> Iterator[str]:
    output = configuration.with_suffix(".output")
    with started([*command, str(configuration)], output, lambda: is_listening(port)) as process:
        try:
            yield f"inet:127.0.0.1:{port}"
        finally:
            process.kill()  # asked to end they take five seconds
