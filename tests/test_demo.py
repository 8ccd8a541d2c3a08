"""What a newcomer sees, whole."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests import masking
from tests.servers import embedded

pytestmark = pytest.mark.usefixtures("uncovered")

ROOT = Path(__file__).parents[1]

FIVE_ANSWERS = """\
1. This mail server does its job:

$ check_smtp_health -H 127.0.0.1 -p # -v
SMTP OK - 127.0.0.1:# answered in # s (slowest: # # s)
connect # s █ [OK]
banner # s █ [OK]
helo # s █ [OK]
quit # s █ [OK]
| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0
(exit code 0)

2. This one greets, but refuses HELO:

$ check_smtp_health -H 127.0.0.1 -p # -v
SMTP CRITICAL - 127.0.0.1:# helo: 550 5.7.1 Access denied (after # s)
[CRITICAL] helo: 550 5.7.1 Access denied (after # s)
connect # s █ [OK]
banner # s █ [OK]
helo # s █ [CRITICAL] 550 5.7.1 Access denied
quit # s █ [OK]
| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 quit=#s;;;0
(exit code 2)

3. This one accepts connections, but never says a word:

$ check_smtp_health -H 127.0.0.1 -p # -t 2 -v
SMTP CRITICAL - 127.0.0.1:# banner: no answer within 2 s, cause: silent
[CRITICAL] banner: no answer within 2 s
cause    silent (network): See whether the server is up and not stuck, and whether a firewall on \
the way drops packets.
connect # s █ [OK]
banner # s █ [CRITICAL] no answer within 2 s
| time=#s;;;0;2 connect=#s;;;0
(exit code 2)

4. The certificate of this one expires in a few days:

$ check_smtp_health -H 127.0.0.1 -p # -S --sni mail.example.org --ca-file authority.pem -v
SMTP WARNING - 127.0.0.1:# certificate: expires in 5 days, # (limit 14)
[WARNING] certificate: expires in 5 days, # (limit 14)
connect # s █ [OK]
banner # s █ [OK]
helo # s █ [OK]
starttls # s █ [OK]
tls # s █ [OK]
helo # s █ [OK]
quit # s █ [OK]
| time=#s;;;0;10 connect=#s;;;0 tls=#s;;;0 banner=#s;;;0 helo=#s;;;0 starttls=#s;;;0 quit=#s;;;0 \
certificate_days=5;14:;3:
(exit code 1)

5. A round trip: this one takes a message, which arrives in its mailbox:

$ check_smtp_health -H 127.0.0.1 -p # --rcpt me@mail.example.org --deliver \
--mailbox imaps://me@127.0.0.1:# --mailbox-pass-file mailbox-password --ca-file authority.pem -v
SMTP OK - 127.0.0.1:# answered in # s (slowest: # # s), 1 recipient accepted, \
delivered to INBOX after # s
connect # s █ [OK]
banner # s █ [OK]
helo # s █ [OK]
mail # s █ [OK]
rcpt # s █ [OK]
data # s █ [OK]
quit # s █ [OK]
delivery # s █ [OK]
delivery: seen in me@127.0.0.1/INBOX
delivery: me@127.0.0.1/INBOX: connect # s, login # s, search # s
| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 mail=#s;;;0 rcpt=#s;;;0 data=#s;;;0 \
quit=#s;;;0 delivery=#s;;;0
(exit code 0)
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
        cwd=ROOT,
        check=False,
    )
    text = re.sub(r"(127\.0\.0\.1:|-p )\d+", r"\1#", done.stdout)
    return done.returncode, masking.undated(masking.masked(text)), done.stderr


def test_five_answers() -> None:
    assert demo() == (0, FIVE_ANSWERS, "")


LOADED = """
import sys
before = set(sys.modules)
import check_smtp_health.cli, tests.demo
for name in set(sys.modules) - before:
    print(getattr(sys.modules[name], "__file__", None) or "")
"""


def provided(names: list[str]) -> set[str]:
    """Return the files of these distributions and of what they require without extras."""
    found: set[str] = set()
    files: set[str] = set()
    while names:
        name = names.pop()
        with contextlib.suppress(PackageNotFoundError):  # for another Python, or platform
            if name not in found:
                installed = distribution(name)
                files.update(str(path.locate()) for path in installed.files or ())
                rules = [rule for rule in installed.requires or () if "extra ==" not in rule]
                names += [re.split(r"[^\w.-]", rule, maxsplit=1)[0] for rule in rules]
        found.add(name)
    return files


def test_it_needs_only_what_make_demo_installs() -> None:
    listed = (ROOT / "tests" / "demo.txt").read_text().splitlines()
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, cwd=ROOT, check=True
    )
    packages = sysconfig.get_path("purelib")
    used = {file for file in done.stdout.splitlines() if file.startswith(packages)}
    assert [file for file in used if "trustme" in file] != []
    assert used - provided([line for line in listed if line[0] not in "#-"]) == set()


def test_a_host() -> None:
    with embedded.smtp() as port:
        assert demo(embedded.HOST, "-p", str(port)) == (0, ONE_ANSWER, "")
    assert demo(embedded.HOST, "-p", str(port)) == (0, NO_ANSWER, "")
    assert demo("nowhere..example") == (1, NO_STATE, "")
