"""The getopt reading of a command line by the option table.

Not argparse, which refuses what ``check_smtp`` users may type: a value that begins with a dash
(``-w -5:``, ``-P -x``) and an optional one that is taken only if it is one of a few words. It
also guesses abbreviations, and building it costs each check 2 ms.
"""

from __future__ import annotations

import re

from check_smtp_health.config.option_table import ABBREVIATED, ANY_WORD, OPTIONS, WRITTEN_OUT
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import escaped, quoted
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.option_table import Option

_BY_FLAG = {flag: option for option in OPTIONS for flag in option.flags}

_TEXTS = ("command", "response", "expect", "fqdn", "authuser")
"""Options whose values are often several words, and then need quotes."""

_DASHES = tuple("\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
"""What editors and web pages make of the dashes of an option."""

_NOT_BEHIND = ("warning", "critical", "timeout", "certificate", "port", "proxy")
"""Options after which a number is more likely a second value than a host."""


class Given(NamedTuple):
    """One option as the user gave it: the flag as typed, and its value, empty for a switch.

    ``is_hidden`` says that the value must not be repeated.
    """

    flag: str
    value: str
    is_hidden: bool = False


class Options:
    """What a command line says: each option's ``Given`` values by name, in the order typed.

    ``fault`` is the first thing that could not be read. Everything else was: how an error is to be
    shown is an option, too.
    """

    __slots__ = ("_given", "fault")

    def __init__(self) -> None:
        self._given: dict[str, list[Given]] = {}
        self.fault: UsageFault | None = None

    def add(self, name: str, given: Given) -> None:
        """Take one more value of an option."""
        self._given.setdefault(name, []).append(given)

    def after(self, first: Options) -> Options:
        """Return the options of ``first`` and then these."""
        both = Options()
        both.fault = first.fault or self.fault
        for options in (first, self):
            for name, several in options._given.items():
                both._given.setdefault(name, []).extend(several)
        return both

    def given(self) -> dict[str, list[Given]]:
        """Return all that was given, by name."""
        return self._given

    def hidden(self) -> Options:
        """Return the same options, of values that must not be repeated, as those of a file."""
        same = Options()
        same.fault = self.fault
        for name, several in self._given.items():
            same._given[name] = [one._replace(is_hidden=True) for one in several]
        return same

    def told(self, fault: UsageFault) -> str:
        """Return a fault as the user is to read it, with the flag as it was typed.

        Hidden values are never repeated: a password may stand in the wrong place, and the key of a
        DNS blocklist in any.
        """
        from check_smtp_health.masking import without_key

        problem = without_key(escaped(fault.problem))  # it may suggest what was typed, in no quotes
        if not fault.option:
            return problem
        flag = self.flag(fault.option)
        value = self.last(fault.option) or ""
        if quoted(value) in problem:
            from check_smtp_health.config import remedies

            problem += escaped(remedies.spelling(flag, value))
        if any(one.is_hidden for one in self._given.get(fault.option, ())):
            flag += " of --extra-opts"
            problem = re.sub("'.*'", "'***'", problem)
        return f"{flag}: {problem}"

    def take_host_from_sni(self) -> None:
        """Take the value of ``--sni`` as HOST: check_smtp's ``--sni`` has no value."""
        taken = self._given["sni"].pop()
        self.add("sni", Given(taken.flag, ""))
        self.add("hostname", Given("HOST", taken.value))

    def flag(self, name: str) -> str:
        """Return the option's flag as it was typed last; the long one where it was not."""
        return self._given[name][-1].flag if name in self._given else f"--{name}"

    def count(self, name: str) -> int:
        """Return how often the option was given."""
        return len(self._given.get(name, ()))

    def last(self, name: str) -> str | None:
        """Return the option's last value, or None where it was not given."""
        return self._given[name][-1].value if name in self._given else None

    def all(self, name: str) -> tuple[str, ...]:
        """Return all values of the option."""
        return tuple(given.value for given in self._given.get(name, ()))


def read(arguments: list[str]) -> Options:
    """Read a command line as getopt does: clusters (``-vS``), attached values, ``--`` ends options.

    One bare word is taken as HOST where ``-H`` is not given. An unknown option, a missing or
    superfluous value, a stray word is the ``fault`` of what is returned.
    """
    options = Options()
    rest = arguments[::-1]
    words: list[_Word] = []
    last = ""  # the option whose value, or another word behind it, has just been read
    while rest:
        argument = rest.pop()
        if argument == "--":
            words += [_Word(word, "") for word in reversed(rest)]
            break
        try:
            if argument.startswith("--"):
                last = _read_long(argument, rest, options)
            elif argument.startswith("-") and argument != "-":
                _need_short(argument)
                last = _read_cluster(argument[1:], rest, options)
            elif argument[:1] in _DASHES:
                raise UsageFault("", f"{quoted(argument)} begins with a dash that is not '-'")
            else:
                words.append(_Word(argument, last))
        except UsageFault as fault:
            options.fault = options.fault or fault
    if words:
        _place(words, options)
    elif not options.count("hostname") and options.last("sni"):
        options.take_host_from_sni()
    return options


def _need_short(argument: str) -> None:
    """Check that an argument with one dash is not a long option; ``-help`` works as it is.

    Raises:
        UsageFault: it is one.
    """
    flag = f"-{argument.partition('=')[0]}"
    if flag in _BY_FLAG and len(flag) > 3 and flag != "--help":
        raise UsageFault("", f"unknown option {quoted(flag[1:])}, did you mean {flag}?")


class _Word(NamedTuple):
    """A word that is not an option, and the name of the option before it."""

    text: str
    behind: str


def _place(words: list[_Word], options: Options) -> None:
    """Take one word as HOST if none was given; any other word is a fault."""
    problem = ""
    if len(words) > 1 or words[0].behind in _NOT_BEHIND:
        from check_smtp_health.config import remedies

        for text, behind in words:
            if behind:
                value = options.last(behind) or ""
                problem = problem or remedies.stray(text, behind, options.flag(behind), value)
    if not (problem or options.count("hostname")):
        # A word after a text may be a part of that text, so prefer another one as the host.
        host = next((word for word in words if word.behind not in _TEXTS), words[0])
        words.remove(host)
        options.add("hostname", Given("HOST", host.text))
    if (problem or words) and options.fault is None:
        options.fault = UsageFault("", problem or _superfluous(words, options))


def _superfluous(words: list[_Word], options: Options) -> str:
    """Return what is wrong with stray words, which may be the rest of a password."""
    if options.count("authpass"):
        return f"one word too many, put the value of {options.flag('authpass')} in quotes"
    from check_smtp_health.config import remedies

    word = next((word for word in words if word.behind in _TEXTS), words[0])
    if word.behind in _TEXTS:
        remedy = f", put the value of {options.flag(word.behind)} in quotes"
    else:
        switch = options.flag(word.behind) if word.behind else ""
        is_switch = bool(switch) and not (find(switch).value or find(switch).optional)
        remedy = remedies.superfluous(
            word.text, switch if is_switch else "", has_port=bool(options.count("port"))
        )
    return f"unexpected argument {quoted(word.text)}{remedy}"


def _read_long(argument: str, rest: list[str], options: Options) -> str:
    flag, equals, value = argument.partition("=")
    option = find(flag)
    if equals:
        if value and not option.value and value not in option.optional:
            raise UsageFault("", f"{flag}: takes no value, but {quoted(value)} was given")
    else:
        value = _next_value(option, flag, rest)
    options.add(option.name, Given(flag, value))
    return option.name


def _read_cluster(letters: str, rest: list[str], options: Options) -> str:
    flag = ""
    while letters:
        if flag and letters[0] == "=":
            raise UsageFault("", f"{flag} takes no value")
        flag, letters = f"-{letters[0]}", letters[1:]
        option = find(flag)
        if not letters:
            value = _next_value(option, flag, rest)
        elif letters in option.optional or (option.value and not option.optional):
            value, letters = letters, ""
        else:
            value = ""
        options.add(option.name, Given(flag, value))
    return option.name


def find(flag: str) -> Option:
    """Return the option that has this flag.

    Raises:
        UsageFault: there is none.
    """
    option = _BY_FLAG.get(flag)
    return _abbreviated(flag) if option is None else option


def _abbreviated(flag: str) -> Option:
    """Return the option of check_smtp that begins like this, as its getopt_long does."""
    if flag.startswith("--") and len(flag) > 2:
        fitting = [name for name in ABBREVIATED if name.startswith(flag[2:])]
        if len(fitting) == 1 and fitting[0] in WRITTEN_OUT:
            raise UsageFault("", f"unknown option {quoted(flag)}, did you mean --{fitting[0]}?")
        if len(fitting) == 1:
            return _BY_FLAG[f"--{fitting[0]}"]
        if len(fitting) > 1:
            several = ", ".join(f"--{name}" for name in fitting)
            raise UsageFault("", f"{quoted(flag)} may be {several}")
    from check_smtp_health.config import remedies

    raise UsageFault("", f"unknown option {quoted(flag)}{remedies.flag(flag)}")


def _next_value(option: Option, flag: str, rest: list[str]) -> str:
    if option.optional:
        taken = rest and (
            rest[-1] in option.optional
            or (option.optional == ANY_WORD and not rest[-1].startswith("-"))
        )
        return rest.pop() if taken else ""
    if not option.value:
        return ""
    if not rest:
        raise UsageFault("", f"{flag}: needs a value, {option.value}")
    return rest.pop()
