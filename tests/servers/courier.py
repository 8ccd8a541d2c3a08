"""A real Courier for one test: it gives out by IMAP and POP3 what is in a Maildir."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import needs
from tests.servers.loopback import free_port, is_listening
from tests.servers.process import started

UNPACKED = "/var/cache/check_smtp_health-tests/courier"
"""How its programs begin where ``tests/servers/install`` puts them: see there."""

USER = "monitor@example.org"
PASSWORD = "s3cret"

OWNER = "courier"

CAPABILITIES = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE QUOTA IDLE AUTH=PLAIN"

# Where its configuration and sockets are is compiled in, so that other folders are laid over these
# in a mount namespace.
BEGIN = """\
set -e
mount --bind {directory}/etc /etc/courier
mount -t tmpfs run /run
mkdir -p /run/courier/authdaemon
makeuserdb
export authmodulelist=authuserdb daemons=2 authdaemonvar=/run/courier/authdaemon
/usr/lib/courier/courier-authlib/authdaemond &
servers=$!
export IMAP_CAPABILITY="{capabilities}" IMAP_USELOCKS=1 IMAP_TRASHFOLDERNAME=Trash
export IMAP_IDLE_TIMEOUT=60 MAILDIRPATH={maildir} {settings}
serve() {{
    couriertcpd -address=127.0.0.1 -maxprocs=40 -maxperip={connections} \\
        -nodnslookup -noidentlookup "$@" &
    servers="$servers $!"
}}
serve {imap} {unpacked}-imaplogin {unpacked}-imapd {maildir}
serve {pop3} {unpacked}-courierpop3login {unpacked}-courierpop3d {maildir}
trap 'kill $servers' TERM
wait || true
wait
"""


@dataclass
class Courier:
    """A running Courier: its folder, and its ports by protocol."""

    directory: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("imap", "pop3")}
    )

    @property
    def maildir(self) -> Path:
        """Where the mailbox is."""
        return self.directory / "home" / "mail"

    def url(self, scheme: str = "imap", folder: str = "") -> str:
        """Return the mailbox as the plugin takes it."""
        return f"{scheme}://{USER}@localhost:{self.ports[scheme]}/{folder}".rstrip("/")

    def messages(self, folder: str = "") -> list[Path]:
        """Return the messages of a folder."""
        path = self.maildir / f".{folder}" if folder else self.maildir
        return sorted(one for sub in ("new", "cur") for one in (path / sub).glob("*"))

    def put(self, message: bytes, folder: str = "") -> None:
        """Deliver a message."""
        name = f"{time.time_ns()}.mail"
        path = self.maildir / f".{folder}" if folder else self.maildir
        waiting = path / "tmp" / name
        waiting.write_bytes(message)
        shutil.chown(waiting, OWNER, OWNER)
        waiting.rename(path / "new" / name)

    def make(self, folder: str = "") -> None:
        """Make a folder."""
        path = self.maildir / f".{folder}" if folder else self.maildir
        for sub in ("cur", "new", "tmp"):
            (path / sub).mkdir(parents=True)
        for one in (path, *path.iterdir()):
            shutil.chown(one, OWNER, OWNER)


@contextlib.contextmanager
def running(
    capabilities: str = CAPABILITIES, connections: int = 20, settings: str = ""
) -> Iterator[Courier]:
    """Run a Courier with one mailbox until the block ends.

    ``connections`` are those that one address may have; ``settings`` are more variables.
    """
    needs.root()
    for program in ("imaplogin", "courierpop3login"):
        if not Path(f"{UNPACKED}-{program}").exists():
            needs.leave_out(f"needs Courier's {program}")
    with tempfile.TemporaryDirectory(prefix="courier-") as name:
        courier = Courier(Path(name))
        courier.directory.chmod(0o755)
        (courier.directory / "etc").mkdir()
        courier.make()
        shutil.chown(courier.maildir.parent, OWNER, OWNER)
        hashed = subprocess.run(
            [needs.program("userdbpw"), "-md5"],
            input=f"{PASSWORD}\n{PASSWORD}\n",
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        owner = courier.maildir.stat()
        fields = {
            "uid": owner.st_uid,
            "gid": owner.st_gid,
            "home": courier.maildir.parent,
            "mail": courier.maildir,
            "systempw": hashed,
        }
        users = courier.directory / "etc" / "userdb"
        users.touch(0o600)
        users.write_text(
            f"{USER}\t" + "|".join(f"{key}={value}" for key, value in fields.items()) + "\n"
        )
        (courier.directory / "etc" / "authdaemonrc").write_text(
            'authmodulelist="authuserdb"\ndaemons=2\nauthdaemonvar=/run/courier/authdaemon\n'
        )
        script = BEGIN.format(
            directory=name,
            maildir=courier.maildir,
            capabilities=capabilities,
            connections=connections,
            settings=settings,
            unpacked=UNPACKED,
            **courier.ports,
        )
        command = [
            *(needs.program("unshare"), "--mount", "--propagation", "private"),
            *("sh", "-c", script),
        ]
        with started(
            command,
            courier.directory / "output",
            lambda: all(map(is_listening, courier.ports.values())),
        ):
            yield courier
