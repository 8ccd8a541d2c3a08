"""Writes the options into ``docs/reference.md``: a table for each group, between two comments."""

from __future__ import annotations

from check_smtp_health.config.option_table import GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.option_table import Option

BEGIN = "<!-- Written by make contrib, from the option table. -->\n"
END = "<!-- Up to here. -->\n"


def page(text: str) -> str:
    """Return the page with its options as they are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{options()}\n{END}{after}"


def options() -> str:
    """Return a heading and a table for each group of options."""
    return "\n".join(
        f"### {title[:1].upper()}{title[1:]}\n\n"
        "| option | what it does |\n|---|---|\n" + "".join(map(_row, rows))
        for title, rows in GROUPS
    )


def _row(option: Option) -> str:
    value = option.value.strip("[]") if option.optional else option.value
    shown = f"[{value}]" if option.optional and value else value
    flags = [f"`{flag}`" for flag in option.flags]
    flags[-1] = f"`{option.flags[-1]}{' ' if shown else ''}{shown}`"
    told = f"{option.help}{'; may be repeated' if option.repeatable else ''}"
    cells = (cell.replace("|", r"\|") for cell in (", ".join(flags), told))
    return f"| {' | '.join(cells)} |\n"
