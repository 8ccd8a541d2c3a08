"""Gives a package index the README with absolute links, for it has none of the files beside it."""

import configparser
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def described() -> str:
    """Return the README; its links lead to the files of this release in the repository."""
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    home = metadata["metadata"]["url"]
    (version,) = re.findall(
        r'^__version__ = "(.*)"$',
        (ROOT / "check_smtp_health" / "__init__.py").read_text(),
        re.MULTILINE,
    )
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^]]*\]\()(?!https?://)", rf"\g<1>{home}/raw/v{version}/", text)
    return re.sub(r"((?<!!)\[[^]]*\]\()(?!https?://)", rf"\g<1>{home}/blob/v{version}/", text)


setup(long_description=described())
