"""What ``make package`` builds is installed into a fresh root or environment, and works there."""

from __future__ import annotations

import ast
import email
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from check_smtp_health import __version__, definitions, stages
from check_smtp_health.config import build, getopt, option_table
from tests import needs, plugin
from tests.engines.icinga import Icinga
from tests.servers.authority import Authority
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.fresh_root import FreshRoot, fresh_root
from tests.servers.scripted import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CONTRIB = ROOT / "contrib"
PACKAGING = ROOT / "packaging"
INSTALL = (ROOT / "docs" / "install.md").read_text()

PLUGIN = "/usr/lib/nagios/plugins/check_smtp_health"

DEB = f"check-smtp-health_{__version__}_all.deb"
RPM = f"check_smtp_health-{__version__}-1.noarch.rpm"
SOURCE = f"check_smtp_health-{__version__}.tar.gz"
WHEEL = f"check_smtp_health-{__version__}-py3-none-any.whl"
SINGLE_FILE = "check_smtp_health.pyz"
SUMS = "SHA256SUMS"

# What is left in a checkout and is no part of it.
LEFT = shutil.ignore_patterns(
    *(".git", ".venv*", ".tox", "dist", "__pycache__", "*.egg-info"),
    *(".coverage*", ".*_cache", ".hypothesis"),
)

EPOCH = {"SOURCE_DATE_EPOCH": "1764000000"}

# Nobody downloads these packages, and what is not compiled is so when it runs.
QUICK = {"DPKG_DEB_COMPRESSOR_LEVEL": "0", "PIP_NO_COMPILE": "1"}
RPM_MACROS = "%_binary_payload w1.gzdio\n"

HEALTHY = (BANNER, *HELO, *QUIT)


def environment() -> dict[str, str]:
    """Return ours, without what would have the tools measure themselves."""
    return {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}


def documented(title: str) -> list[str]:
    """Return the commands below that heading of docs/install.md."""
    text = INSTALL.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what ``make package`` builds, as far as this machine has the tools."""
    home = tmp_path_factory.mktemp("copy")
    (home / ".rpmmacros").write_text(RPM_MACROS)
    source = home / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=LEFT)
    done = subprocess.run(
        ["make", "--silent", "package", "READY=", f"BIN={Path(sys.executable).parent}"],
        cwd=source,
        capture_output=True,
        text=True,
        env={**environment(), **EPOCH, **QUICK, "HOME": str(home)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    folder = source / "dist"
    said, _, left_out = done.stdout.partition("left out:\n")
    listed = said.splitlines()
    assert listed[0] == f"built in {folder}:"
    expected = [SUMS, DEB, RPM, WHEEL, SOURCE, SINGLE_FILE]
    if "  Debian package: " in left_out:
        expected.remove(DEB)
    if "  RPM: " in left_out:
        expected.remove(RPM)
    assert [line.strip() for line in listed[1:]] == expected
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
    return folder


@pytest.fixture(scope="module")
def deb(built: Path) -> Path:
    """Return the Debian package."""
    if not (built / DEB).exists():
        needs.leave_out("needs the tools that build a Debian package")
    return built / DEB


@pytest.fixture(scope="module")
def page(built: Path) -> Path:
    """Return the man page."""
    return built.parent / "packaging/share/man/man1/check_smtp_health.1"


@pytest.fixture(scope="module")
def installed(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshRoot]:
    """Return a root, without Python before, in which the Debian package was installed."""
    (line,) = documented("Debian package")
    with fresh_root(tmp_path_factory.mktemp("installed")) as root:
        assert root.attempt("python3", "--version").returncode == 127
        shutil.copy(deb, root.path / "tmp")
        root.run("sh", "-c", f"cd /tmp && {line} -qq && rm {DEB}")
        yield root


def check_in(root: FreshRoot, *command: str) -> None:
    """Check that the command, run by the engines' user, finds a healthy server healthy."""
    with ScriptedServer(HEALTHY).running() as server:
        address = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example")
        done = root.attempt(*command, *address, user="nagios")
    assert (done.returncode, done.stdout[:10], done.stderr) == (0, "SMTP OK - ", "")


def check_here(*command: str | Path) -> None:
    """Check that a command of this machine, in an empty environment, finds the server healthy."""
    with ScriptedServer(HEALTHY).running() as server:
        address = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example")
        done = subprocess.run(
            [*command, *address], capture_output=True, text=True, env={}, check=False
        )
    assert (done.returncode, done.stdout[:10], done.stderr) == (0, "SMTP OK - ", "")


def test_the_documentation_points_at_its_own_sections() -> None:
    titles = re.findall(r"^## (.*)$", INSTALL, re.MULTILINE)
    targets = re.findall(r"\]\(#([^)]+)\)", INSTALL)
    assert set(targets) - {title.lower().replace(" ", "-") for title in titles} == set()
    assert len(targets) == 4


def test_one_version() -> None:
    changelog = (ROOT / "debian" / "changelog").read_text()
    assert re.findall(r"^\S+ \((\S+)\)", changelog, re.MULTILINE)[0] == __version__
    spec = (PACKAGING / "check_smtp_health.spec").read_text()
    assert re.findall(r"^Version: (\S+)", spec, re.MULTILINE) == [__version__]


@pytest.mark.parametrize("engine", definitions.FILES)
def test_print_definition(engine: str) -> None:
    done = plugin.run("--print-definition", engine)
    assert done.stdout == (CONTRIB / definitions.FILES[engine]).read_text()
    assert (done.code, done.stderr) == (3, "")


def test_checksums(built: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=built, check=False
    )
    assert done.returncode == 0
    lines = (built / SUMS).read_text().splitlines()
    assert {line.split()[1] for line in lines} == {path.name for path in built.iterdir()} - {SUMS}


STAND_IN = """\
#!/bin/sh
case $* in
    "-m build "*) for folder; do :; done; exec cp {built}/*.whl {built}/*.tar.gz "$folder" ;;
    packaging/single_file.py*) exec cp {built}/{single_file} "$3" ;;
    *) exec {python} "$@" ;;
esac
"""
"""Python, with what it takes longest to build once more taken from where it was built."""


def test_what_cannot_be_built_is_left_out_and_said(built: Path, tmp_path: Path) -> None:
    """On a machine that has neither Debian's tools nor rpmbuild."""
    bare = tmp_path / "bin"
    bare.mkdir()
    needed = "sh dirname basename mktemp rm mkdir cat cp date ls sed sha256sum git env tar"
    for program in needed.split():
        found = shutil.which(program)
        if found:
            (bare / program).symlink_to(found)
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(built=built, single_file=SINGLE_FILE, python=sys.executable))
    python.chmod(0o755)
    done = subprocess.run(
        [built.parent / "packaging" / "build", python, tmp_path / "dist"],
        capture_output=True,
        text=True,
        env={**environment(), **EPOCH, "PATH": str(bare)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"built in {tmp_path / 'dist'}:\n"
        f"  {SUMS}\n  {WHEEL}\n  {SOURCE}\n  {SINGLE_FILE}\n"
        "left out:\n"
        "  Debian package: needs Debian or a derivative, with: apt-get install build-essential\n"
        "  RPM: needs rpmbuild; try: dnf install rpm-build, on Debian apt-get install rpm\n"
    )


# The wheel.


@pytest.mark.skipif(sys.version_info < (3, 10), reason="needs Python 3.10 for readme-renderer")
def test_a_package_index_can_show_the_readme(built: Path) -> None:
    from readme_renderer import markdown

    with zipfile.ZipFile(built / WHEEL) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith("/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    page = markdown.render(str(metadata.get_payload()))
    assert page is not None
    links = re.findall(r'(?:href|src)="([^#"][^"]*)"', page)
    assert len(links) > 20
    home = metadata["Home-page"]
    assert [
        link for link in links if not link.startswith((f"{home}/blob/v", f"{home}/raw/v"))
    ] == []
    (picture,) = re.findall(r'<img src="([^"]*)"', page)
    assert (ROOT / picture.partition(f"/raw/v{__version__}/")[2]).exists()
    urls = dict(re.findall(r"(\w+), (\S+)", " ".join(metadata.get_all("Project-URL", []))))
    assert list(urls) == ["Documentation", "Changelog", "Source", "Issues"]
    assert [url for url in urls.values() if not url.startswith(home)] == []
    control = (ROOT / "debian" / "control").read_text()
    spec = (PACKAGING / "check_smtp_health.spec").read_text()
    assert (f"\nHomepage: {home}\n" in control, f"\nURL: {home}\n" in spec) == (True, True)


NEEDED = (
    *("nagiosplugin", "cryptography", "cffi", "pycparser", "typing_extensions"),
    *("scramp", "asn1crypto", "dnspython"),
)
"""What the plugin and its extras are installed with."""


def wheel_of(name: str, folder: Path) -> None:
    """Write the wheel that an installed distribution came from, as far as pip minds."""
    found = distribution(name)
    tag = re.findall(r"^Tag: (.*)$", found.read_text("WHEEL") or "", re.MULTILINE)[-1]
    stem = f"{found.metadata['Name'].replace('-', '_')}-{found.version}"
    with zipfile.ZipFile(folder / f"{stem}-{tag}.whl", "w") as archive:
        for path in found.files or ():
            if path.suffix != ".pyc" and ".." not in path.parts:
                archive.write(str(path.locate()), str(path))


PIP = """\
#!{folder}/bin/python
import sys
sys.path.append({alone!r})
from pip._internal.cli.main import main
sys.exit(main())
"""
"""Ours, for another environment: one of its own takes longer to install than all the rest."""


def test_virtual_environment(built: Path, tmp_path: Path) -> None:
    """As documented, but with the wheel for the checkout, and nothing from elsewhere."""
    plugins, wheels, local = (tmp_path / name for name in ("plugins", "wheels", "local"))
    for made in (plugins, wheels, local):
        made.mkdir()
    folder = tmp_path / "check_smtp_health"
    (folder / "bin").mkdir(parents=True)
    pip = folder / "bin/pip"
    pip.write_text(PIP.format(folder=folder, alone=str(tmp_path / "alone")))
    pip.chmod(0o755)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/pip").symlink_to(str(distribution("pip").locate_file("pip")))
    for name in NEEDED:
        wheel_of(name, wheels)
    script = "\n".join(["set -e", *documented("Virtual environment")])
    for there, here in (
        ("python3 -m venv ", f"{sys.executable} -m venv --without-pip "),
        ("/opt", str(tmp_path)),
        ("/usr/lib/nagios/plugins", str(plugins)),
        ("/usr/local/bin", str(local)),
        ("'.[dns,tls,scram]'", f"'check-smtp-health[dns,tls,scram] @ file://{built / WHEEL}'"),
    ):
        assert there in script
        script = script.replace(there, here)
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        env={**environment(), **offline, **QUICK},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_here(plugins / "check_smtp_health")
    check_here(local / "check_smtp_health")
    assert (folder / "share/man/man1/check_smtp_health.1").exists()


# The single file.

# With our Python, but not with our packages.
ISOLATED = (sys.executable, "-I", "-S")


def single_file_after(script: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that has the single file for its argument."""
    return subprocess.run(
        [*ISOLATED, "-c", script, file], capture_output=True, text=True, env={}, check=False
    )


def test_single_file_is_reproducible(built: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, PACKAGING / "single_file.py", built / WHEEL, tmp_path / "again"],
        env={**environment(), **EPOCH, "PYTHONHASHSEED": "0", "TZ": "Asia/Tokyo"},
        check=True,
    )
    assert (tmp_path / "again").read_bytes() == (built / SINGLE_FILE).read_bytes()


def test_single_file_has_the_licences(built: Path) -> None:
    with zipfile.ZipFile(built / SINGLE_FILE) as archive:
        texts = {
            name.partition("-")[0]: archive.read(name).decode()
            for name in archive.namelist()
            if "LICENSE" in name
        }
    assert set(texts) == {"check_smtp_health", "nagiosplugin"}
    assert texts["check_smtp_health"] == (ROOT / "LICENSE").read_text()
    assert "Zope Public License" in texts["nagiosplugin"]


def test_single_file_is_compiled_for_this_python(built: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from check_smtp_health import cli; print(cli.__loader__.get_filename(cli.__name__))"
    )
    done = single_file_after(script, built / SINGLE_FILE)
    assert done.stdout == f"{built / SINGLE_FILE}/check_smtp_health/cli.pyc\n"


def test_single_file_runs_without_what_was_compiled(built: Path, tmp_path: Path) -> None:
    """As under another version of Python, which passes over what is not compiled for it."""
    with (
        zipfile.ZipFile(built / SINGLE_FILE) as made,
        zipfile.ZipFile(tmp_path / SINGLE_FILE, "w") as other,
    ):
        for name in made.namelist():
            content = made.read(name)
            other.writestr(name, b"\0\0\0\0" + content[4:] if name.endswith(".pyc") else content)
    check_here(*ISOLATED, tmp_path / SINGLE_FILE)


def test_single_file_says_that_python_is_too_old(built: Path) -> None:
    script = (
        "import runpy, sys; sys.version_info = (3, 8, 18)\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    done = single_file_after(script, built / SINGLE_FILE)
    said = "SMTP UNKNOWN - needs Python 3.9 or later, but this is 3.8\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, said, "")
    with zipfile.ZipFile(built / SINGLE_FILE) as archive:
        ast.parse(archive.read("__main__.py"), feature_version=(3, 4))


# The Debian package.


def test_lintian(deb: Path) -> None:
    done = subprocess.run(
        [needs.program("lintian"), "--allow-root", "--pedantic", "--profile", "debian", deb],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_deb_runs(installed: FreshRoot) -> None:
    check_in(installed, PLUGIN)
    check_in(installed, "check_smtp_health")
    said = installed.attempt("python3", "-m", "check_smtp_health", "--version")
    assert (said.returncode, said.stdout) == (3, f"check_smtp_health {__version__}\n")


def test_deb_depends_on_what_it_needs(installed: FreshRoot) -> None:
    said = installed.run("dpkg-query", "--show", "--showformat", "${Depends}", "check-smtp-health")
    assert said == "python3-nagiosplugin (>= 1.3.2), python3:any (>= 3.9~)"


def test_deb_has_nagios_know_the_commands(installed: FreshRoot) -> None:
    """By Debian's own configuration, to which a user adds nothing but the service."""
    service = installed.path / "etc/nagios4/conf.d/smtp.cfg"
    results = []
    for command in ("check_smtp_health!1!5!-S", "check_no_health"):
        service.write_text(
            "define service {\n  use generic-service\n  host_name localhost\n"
            f"  service_description SMTP\n  check_command {command}\n}}\n"
        )
        done = installed.attempt("nagios4", "-v", "/etc/nagios4/nagios.cfg")
        totals = re.findall(r"^Total (?:Warnings|Errors): *(\d+)$", done.stdout, re.MULTILINE)
        results.append((done.returncode, totals))
    service.unlink()
    assert results == [(0, ["0", "0"]), (1, ["0", "1"])]


def test_deb_has_icinga_include_the_commands(deb: Path, tmp_path: Path) -> None:
    (tmp_path / "icinga").mkdir()
    icinga = Icinga(
        tmp_path / "icinga",
        "include <itl>\ninclude <plugins>\ninclude <smtp_health>\n"
        'object Host "mx" { check_command = "smtp_health"; address = "127.0.0.1" }\n',
    )
    icinga.defines += ["--include", str(tmp_path / "usr/share/icinga2/include")]
    assert icinga.validate()[0] == 1
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    assert icinga.validate()[0] == 0


def test_definitions_go_where_the_documentation_says(installed: FreshRoot) -> None:
    *lines, last = documented("Tell the engine")
    printed = {}
    for line in lines:
        ((engine, target),) = re.findall(r"^\S+ --print-definition (\w+) >/?(\S+)$", line)
        path = installed.path / "tmp" / target
        path.parent.mkdir(parents=True, exist_ok=True)
        done = installed.attempt("sh", "-c", f"cd /tmp && {line.replace('>/', '>/tmp/')}")
        assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
        printed[engine] = path.read_text()
    assert printed == {
        engine: (CONTRIB / file).read_text() for engine, file in definitions.FILES.items()
    }
    with ScriptedServer(HEALTHY).running() as server:
        assert last.endswith("mx.example.org")
        address = f"127.0.0.1 -p {server.port} -F me.example"
        said = installed.run("sh", "-c", last.replace("mx.example.org", address))
    assert said.startswith("SMTP OK - ")


# The RPM.


@pytest.fixture(scope="module")
def rpm(built: Path) -> Path:
    """Return the RPM, as Debian's rpmbuild makes it."""
    if not (built / RPM).exists():
        needs.leave_out("needs rpmbuild")
    return built / RPM


def query(package: Path, *what: str) -> list[str]:
    """Return what an RPM says of itself."""
    return subprocess.run(
        ["rpm", "--query", "--package", *what, package], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_rpm_has_all_that_it_should(rpm: Path) -> None:
    assert {"python3 >= 3.9", "python3-nagiosplugin >= 1.3.2"} <= set(query(rpm, "--requires"))
    site = f"/usr/lib/python3.{sys.version_info[1]}/site-packages"
    names = query(rpm, "--list")
    modules = [name for name in names if name.startswith(f"{site}/check_smtp_health/")]
    others = set(names) - set(modules) - set(query(rpm, "--docfiles"))
    packaged = {
        f"{site}/{path.relative_to(ROOT)}"
        for path in (ROOT / "check_smtp_health").rglob("*")
        if path.suffix in (".py", ".typed", ".cfg", ".conf", ".json")
    }
    assert packaged - set(modules) == set()
    beside = {".dist-info", "/usr/share/doc/"}
    assert {name for name in others if not any(one in name for one in beside)} == {
        "/usr/bin/check_smtp_health",
        f"{site}/check_smtp_health",
        "/usr/lib64/nagios/plugins/check_smtp_health",
        "/usr/share/bash-completion/completions/check_smtp_health",
        "/usr/share/fish/vendor_completions.d/check_smtp_health.fish",
        "/usr/share/icinga2/include/smtp_health",
        f"/usr/share/licenses/check_smtp_health-{__version__}",
        f"/usr/share/licenses/check_smtp_health-{__version__}/LICENSE",
        "/usr/share/zsh/site-functions/_check_smtp_health",
    }
    documents = {Path(name).name for name in query(rpm, "--docfiles")}
    assert {"README.md", "CHANGELOG.md", "reference.md", "check_smtp_health.1"} <= documents


def test_rpm_runs(rpm: Path, installed: FreshRoot) -> None:
    """With Debian's nagiosplugin."""
    folder = installed.path / "tmp/rpm"
    folder.mkdir()
    with rpm.open("rb") as file:
        packed = subprocess.run(["rpm2archive", "-"], stdin=file, capture_output=True, check=True)
    subprocess.run(["tar", "-xzf", "-", "-C", folder], input=packed.stdout, check=True)
    (site,) = folder.glob("usr/lib/python3*/site-packages")
    inside = f"/{site.relative_to(installed.path)}"
    check_in(
        installed,
        *("env", f"PYTHONPATH={inside}", "/tmp/rpm/usr/lib64/nagios/plugins/check_smtp_health"),
    )


# Man page and completions.

BASH = """
. /usr/share/bash-completion/bash_completion
_completion_loader check_smtp_health
complete -p check_smtp_health
for line; do
    eval "COMP_WORDS=($line)"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _shtab_check_smtp_health 2>/dev/null
    echo "${COMPREPLY[*]}"
done
"""

# A shell on a terminal of its own, in which lines are typed, and kept as completed.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
keep='keep() { print -r -- "$BUFFER" >>/tmp/typed; BUFFER= }; zle -N keep; bindkey "^T" keep'
zpty -w shell "autoload -Uz compinit; compinit -u -D; $keep"
for line; do zpty -n -w shell $line$'\t\x14'; done
zpty -w shell exit
while zpty -r shell; do :; done
"""


def test_bash_completes(installed: FreshRoot) -> None:
    completed = {
        "check_smtp_health --stax": "",
        "check_smtp_health --start": "--starttls",
        "check_smtp_health -S --tempfail ''": "ok warning critical unknown",
        "check_smtp_health --ca-file /etc/hostn": "/etc/hostname",
        "check_smtp_health --print-definition n": "nagios nrpe",
    }
    first, *said = installed.run("bash", "--norc", "-c", BASH, "bash", *completed).splitlines()
    assert first == "complete -o bashdefault -F _shtab_check_smtp_health check_smtp_health"
    assert dict(zip(completed, said)) == completed


def test_zsh_completes(installed: FreshRoot) -> None:
    completed = {
        "check_smtp_health --start": "check_smtp_health --starttls ",
        f"{PLUGIN} --rcpt a --rcp": f"{PLUGIN} --rcpt a --rcpt ",
        "check_smtp_health --tempfail crit": "check_smtp_health --tempfail critical ",
        "check_smtp_health --ca-file /etc/hostna": "check_smtp_health --ca-file /etc/hostname ",
        "check_smtp_health -t ": "check_smtp_health -t ",
    }
    shown = installed.run("zsh", "-f", "-c", ZSH, "zsh", *completed)
    assert "not found" not in shown
    typed = (installed.path / "tmp/typed").read_text().splitlines()
    assert dict(zip(completed, typed)) == completed


def test_fish_completes(installed: FreshRoot) -> None:
    installed.run("apt-get", "install", "-qq", "fish")
    completed = {
        "check_smtp_health --start": ["--starttls\trequire STARTTLS"],
        "check_smtp_health --print-definition n": ["nagios", "nrpe"],
        "check_smtp_health --ca-file /etc/hostna": ["/etc/hostname"],
    }
    said = {
        line: installed.run("fish", "-c", f"complete -C '{line}'").splitlines()
        for line in completed
    }
    said = {
        line: [word if "starttls" in word else word.partition("\t")[0] for word in words]
        for line, words in said.items()
    }
    assert said == completed


def test_completed_words_are_right(tmp_path: Path) -> None:
    client = Authority.made(tmp_path, "authority").written(tmp_path / "client.pem", "client")
    words: dict[str, tuple[str, ...]] = runpy.run_path(str(PACKAGING / "documents.py"))["WORDS"]
    assert words.pop("--print-definition") == tuple(definitions.FILES)
    for flag, several in words.items():
        for word in several:
            certificate = ("--cert", client) if word == "EXTERNAL" else ()
            line = [flag, word, "-H", "mx.example", "-S", "-U", "monitor", *certificate]
            given = getopt.read(line)
            # Raises where the word is wrong.
            stages.prepare(build.build(given, stages.MEASURES, "", "secret"))


@pytest.mark.parametrize(
    "command",
    [("mandoc", "-Tlint"), ("groff", "-man", "-ww", "-z", "-Tutf8")],
    ids=["mandoc", "groff"],
)
def test_man_page_has_no_mistakes(page: Path, command: tuple[str, ...]) -> None:
    program, *arguments = command
    done = subprocess.run(
        [needs.program(program), *arguments, page], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_man_page_is_found(installed: FreshRoot) -> None:
    text = installed.run("man", "--warnings", "check_smtp_health")
    assert re.findall(r"^[A-Z][A-Z ]*$", text, re.MULTILINE) == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT"),
        *("EXAMPLES", "SEE ALSO"),
    ]
    about = "check_smtp_health (1) - check that a mail server does its job, stage by stage\n"
    assert installed.run("whatis", "check_smtp_health") == about


def test_man_page_has_all(page: Path) -> None:
    text = re.sub(r"\\f[BRI]|\\", "", page.read_text())
    flags = {flag for option in option_table.OPTIONS for flag in option.flags}
    assert flags - set(re.findall(r"(?<![\w-])--?[A-Za-z0-9][\w-]*", text)) == set()
    variables = {
        name
        for path in (ROOT / "check_smtp_health").rglob("*.py")
        for name in re.findall(
            r"\b(?:CHECK_SMTP_HEALTH|NAGIOS|MP)_[A-Z_]+\b|\bNO_COLOR\b", path.read_text()
        )
    }
    listed = text.partition("\n.SH ENVIRONMENT\n")[2].partition("\n.SH ")[0]
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", listed)) == variables
    assert variables >= {"CHECK_SMTP_HEALTH_AUTHPASS", "MP_CONFIG_FILE"}


# Last of all, the package is removed from the root in which the others want it.


def remove(root: FreshRoot) -> None:
    """Remove the package, and all that we need but Python, if they are still there."""
    root.run("dpkg", "--purge", "check-smtp-health", "python3-nagiosplugin")


def test_deb_is_removed_whole(installed: FreshRoot) -> None:
    """But for what man keeps by itself of a page that it showed."""
    elsewhere = ("-not", "-path", "/tmp/*", "-not", "-path", "/var/cache/man/*")
    search = ("find", "/", "-xdev", "-iname", "*smtp?health*", *elsewhere)
    assert "/etc/nagios-plugins/config/check_smtp_health.cfg" in installed.run(*search).splitlines()
    remove(installed)
    assert installed.run(*search) == ""


def test_single_file_needs_python_alone(built: Path, installed: FreshRoot) -> None:
    remove(installed)
    (line,) = documented("Single file")
    assert installed.attempt("python3", "-c", "import nagiosplugin").returncode == 1
    shutil.copy(built / SINGLE_FILE, installed.path / "tmp")
    installed.run("sh", "-c", f"cd /tmp && {line} && rm {SINGLE_FILE}")
    check_in(installed, PLUGIN)
    printed = installed.attempt(PLUGIN, "--print-definition", "nagios").stdout
    assert printed == (CONTRIB / "nagios-commands.cfg").read_text()
    installed.run("rm", PLUGIN)
