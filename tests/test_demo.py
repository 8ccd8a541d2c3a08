"""What a newcomer sees, whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import masking
from tests.servers import embedded

pytestmark = pytest.mark.usefixtures("uncovered")

THREE_ANSWERS = """\
This mail server does its job (aiosmtpd, embedded here):

$ check_smtp_health -H 127.0.0.1 -p # -v
SMTP OK - 127.0.0.1:# answered in # s (slowest: # # s)
connect # s █ [OK]
banner # s █ [OK]
helo # s █ [OK]
quit # s █ [OK]
| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0
(exit code 0)

This one greets, but refuses HELO:

$ check_smtp_health -H 127.0.0.1 -p # -v
SMTP CRITICAL - 127.0.0.1:# helo: 550 5.7.1 Access denied (after # s)
[CRITICAL] helo: 550 5.7.1 Access denied (after # s)
connect # s █ [OK]
banner # s █ [OK]
helo # s █ [CRITICAL] 550 5.7.1 Access denied
quit # s █ [OK]
| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 quit=#s;;;0
(exit code 2)

This one takes connections, but never says a word:

$ check_smtp_health -H 127.0.0.1 -p # -v -t 2
SMTP CRITICAL - 127.0.0.1:# banner: no answer within 2 s, cause: silent
[CRITICAL] banner: no answer within 2 s
cause    silent (network): See whether the server is up and not stuck, and whether a firewall on \
the way drops packets.
connect # s █ [OK]
banner # s █ [CRITICAL] no answer within 2 s
| time=#s;;;0;2 connect=#s;;;0
(exit code 2)
"""

ONE_ANSWER = """\
$ check_smtp_health -H 127.0.0.1 -p # -v
SMTP OK - 127.0.0.1:# answered in # s (slowest: # # s)
connect # s █ [OK]
banner # s █ [OK]
helo # s █ [OK]
quit # s █ [OK]
| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0
(exit code 0)
"""

NO_ANSWER = """\
$ check_smtp_health -H 127.0.0.1 -p # -v
SMTP CRITICAL - 127.0.0.1:# connect: connection refused (after # s), cause: refused
[CRITICAL] connect: connection refused (after # s)
cause    refused (network): See whether the mail service runs and listens on this port \
(Postfix: master.cf and inet_interfaces; Exim: daemon_smtp_ports), and whether a firewall rejects.
connect # s █ [CRITICAL] connection refused
| time=#s;;;0;10
(exit code 2)
"""

NO_STATE = """\
$ check_smtp_health -H nowhere..example -v
SMTP UNKNOWN - -H: 'nowhere..example' is not a host name, IP address or socket path
(exit code 3)
"""


def demo(*arguments: str) -> tuple[int, str, str]:
    """Return exit code, standard output with all that varies as ``#``, and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    text = re.sub(r"(127\.0\.0\.1:|-p )\d+", r"\1#", done.stdout)
    return done.returncode, masking.masked(text), done.stderr


def test_three_answers() -> None:
    assert demo() == (0, THREE_ANSWERS, "")


def test_a_host() -> None:
    with embedded.smtp() as port:
        assert demo(embedded.HOST, "-p", str(port)) == (0, ONE_ANSWER, "")
    assert demo(embedded.HOST, "-p", str(port)) == (0, NO_ANSWER, "")
    assert demo("nowhere..example") == (1, NO_STATE, "")
