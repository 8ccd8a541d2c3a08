"""An IMAP server that follows a script: it finds one message, gives it out and deletes it."""

from __future__ import annotations

import re
from collections.abc import Callable

from check_smtp_health.roundtrip.message import RECIPIENTS, TOKEN, mark
from tests.servers.scripted import Expect, Message, ScriptedServer, Tagged

PASSWORD = "s3cret"

SENDING = (
    b"220 mx.example ESMTP\r\n",
    Expect(b"HELO"),
    b"250 mx.example\r\n",
    Expect(b"MAIL FROM:<>\r\n"),
    b"250 ok\r\n",
    Expect(b"RCPT TO:<a@x>\r\n"),
    b"250 ok\r\n",
    Expect(b"DATA\r\n"),
    b"354 go\r\n",
    Message(),
    b"250 ok\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)
"""An SMTP server that takes the message."""

PLACE = b"T" * 32
"""Stands for the message's token in what a mailbox says."""

HEADER = b"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\nSubject: x\r\n%s: %s\r\n%s: %s\r\n\r\n" % (
    *(TOKEN.encode(), PLACE, RECIPIENTS.encode()),
    mark("a@x").encode(),
)


CAPABLE = Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN UIDPLUS\r\nTAG OK x\r\n")
POOR = Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n")
LOGIN = Tagged(b'LOGIN "me" "s3cret"\r\n', b"TAG OK in\r\n")
SELECT = Tagged(b'SELECT "INBOX"\r\n', b"* 3 EXISTS\r\n* OK [UIDNEXT 10] x\r\nTAG OK x\r\n")
NOTHING = Tagged(b"UID SEARCH", b"* SEARCH\r\nTAG OK x\r\n")
FOUND = Tagged(b"UID SEARCH UID ", b"* SEARCH 7\r\nTAG OK x\r\n")
UNREAD = Tagged(b"FETCH 1:3 (UID INTERNALDATE BODY.PEEK[HEADER]<0.65536>)\r\n", b"TAG OK x\r\n")
NOOP = Tagged(b"NOOP", b"TAG OK x\r\n")
FETCHED = Tagged(
    b"UID FETCH 7 (UID INTERNALDATE BODY.PEEK[HEADER]<0.65536>)\r\n",
    b'* 3 FETCH (UID 7 INTERNALDATE " 1-Jan-2001 00:00:00 +0000" BODY[HEADER]<0> {%d}\r\n%s)\r\n'
    b"TAG OK x\r\n" % (len(HEADER), HEADER),
)
NOT_STALE = Tagged(b"UID SEARCH UNDELETED HEADER", b"* SEARCH\r\nTAG OK x\r\n")
FLAGGED = Tagged(rb"UID STORE 7 +FLAGS.SILENT (\Deleted)", b"TAG OK x\r\n")
EXPUNGED = Tagged(b"UID EXPUNGE 7\r\n", b"TAG OK x\r\n")
LOGOUT = Tagged(b"LOGOUT", b"* BYE\r\nTAG OK x\r\n")
HI = b"* OK hi\r\n"

IN = (HI, POOR, LOGIN, CAPABLE, SELECT)
SEEN = (*IN, FOUND, FETCHED, NOOP, FOUND)
WHOLE = (*SEEN, FLAGGED, EXPUNGED, NOT_STALE, LOGOUT)


def named(smtp: ScriptedServer) -> Callable[[bytes], bytes]:
    """Return what puts the token of the last message that this server took in its place."""

    def edit(data: bytes) -> bytes:
        if PLACE not in data:
            return data
        sent = [one for one in smtp.received if TOKEN.encode() in one][-1]
        token = re.search(rb"Token: (\w+)", sent)
        assert token
        return data.replace(PLACE, token[1])

    return edit
