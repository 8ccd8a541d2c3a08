"""The check that an admin writes in an afternoon, with nagiosplugin and smtplib."""

import argparse
import smtplib
import ssl
import time
from collections.abc import Iterator

import nagiosplugin


class Smtp(nagiosplugin.Resource):  # type: ignore[misc]
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        began = time.monotonic()
        with smtplib.SMTP(self.args.host, self.args.port, timeout=self.args.timeout) as server:
            if self.args.starttls:
                server.starttls(context=ssl.create_default_context(cafile=self.args.ca_file))
            if self.args.user:
                server.login(self.args.user, self.args.password)
            server.noop()
        yield nagiosplugin.Metric("time", time.monotonic() - began, "s", min=0)


@nagiosplugin.guarded(verbose=0)  # type: ignore[untyped-decorator]
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-H", "--host", required=True)
    parser.add_argument("-p", "--port", type=int, default=25)
    parser.add_argument("-S", "--starttls", action="store_true")
    parser.add_argument("--ca-file")
    parser.add_argument("-U", "--user")
    parser.add_argument("-P", "--password")
    parser.add_argument("-w", "--warning", default="")
    parser.add_argument("-c", "--critical", default="")
    parser.add_argument("-t", "--timeout", type=int, default=10)
    args = parser.parse_args()
    context = nagiosplugin.ScalarContext("time", args.warning, args.critical)
    nagiosplugin.Check(Smtp(args), context).main(timeout=args.timeout)


main()
