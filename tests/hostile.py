"""A reply that would break any output if it were shown as it came, and what is shown of it."""

from __future__ import annotations

SAID = b"a;b\tc \"q\" 'x' \\n \\\\ $HOME$ %s | time=9 <b> [OK] {{}} \x17 \x1b[31m \xff\x00 go"

SHOWN = (
    "a;b\\x09c \"q\" 'x' \\x5cn \\\\ $HOME$ %s \\x7c time=9 (b) (OK ) {{}} \\x17 \\x1b(31m "
    "\ufffd\\x00 go"
)
