"""Icinga Web draws each target, whatever its name is and whichever stages it has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contrib.generate.colours import STACKED
from tests.engines.graphite_module import charts, pictures
from tests.servers import graphite
from tests.servers.graphite import Graphite

PNG = b"\x89PNG\r\n\x1a\n"

SERVICE = "icinga2.mx_example.services.smtp.smtp_health.perfdata"

Curves = dict[str, float]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graphite]:
    """Return the Graphite behind the module."""
    with graphite.running(tmp_path_factory.mktemp("graphite")) as behind:
        yield behind


def seconds(target: str = "", /, **labels: float) -> dict[str, float]:
    """Return the values of a target's labels, by their names below the service."""
    where = f"{target}." if target else ""
    return {f"{where}{label}.value": value for label, value in labels.items()}


def drawn(behind: Graphite, *metrics: dict[str, float]) -> dict[str, Curves]:
    """Return the last value of each curve by the graph's title, in the order of the page."""
    known = {f"{SERVICE}.{name}": [value] * 5 for some in metrics for name, value in some.items()}
    found = charts(behind, known)
    page = {chart.title: chart.last for chart in found}
    assert len(page) == len(found), "two graphs have the same title"
    return page


def test_a_round_trip_shows_the_delivery_second(behind: Graphite) -> None:
    """Icinga Web shows two graphs until it is asked for more."""
    labels = dict.fromkeys(STACKED, 0.01)
    page = drawn(
        behind,
        seconds(**labels, time=0.15, quit=0.02, delivery=4.5, certificate_days=80),
    )
    stack: Curves = {f"{stage} (ms)": 10 * place for place, stage in enumerate(STACKED, 1)}
    assert list(page)[:2] == ["Stages", "Way to the mailbox"]
    assert page == {
        "Stages": {**stack, "time (ms)": 150},
        "Way to the mailbox": {"delivery (s)": 4.5},
        "Response time": {"time (ms)": 150},
        "Certificate": {"days left": 80},
        "quit": {"value": 0.02},
    }


def test_each_graph_is_a_picture(behind: Graphite) -> None:
    labels = ("connect", "time", "delivery", "certificate_days", "healthy", "mx.example.time")
    drawn = pictures(behind, {f"{SERVICE}.{label}.value": [0.1] * 5 for label in labels})
    assert [picture[:8] for picture in drawn] == [PNG] * 6


def test_a_stage_that_failed_leaves_a_gap_below_the_response_time(behind: Graphite) -> None:
    page = drawn(behind, seconds(connect=0.01, time=10))
    assert page == {
        "Stages": {"connect (ms)": 10, "time (ms)": 10_000},
        "Response time": {"time (ms)": 10_000},
    }


def test_a_check_every_five_minutes_makes_an_area_and_a_failure_a_gap(behind: Graphite) -> None:
    """Graphite keeps a value a minute, and fills no area beside one that is missing."""
    ok, failed = [None, None, None, None, 0.01], [None] * 5
    (stages, _) = charts(
        behind,
        {
            f"{SERVICE}.connect.value": [*ok, *ok, *ok, *ok],
            f"{SERVICE}.banner.value": [*ok, *ok, *failed, *ok],
            f"{SERVICE}.time.value": [*ok, *ok, *ok, *ok],
        },
    )
    connect, banner = (stages.curves[f"{name} (ms)"] for name in ("connect", "banner"))
    begin = connect.index(10)
    assert connect[begin : begin + 16] == [10] * 16
    assert banner[begin : begin + 16] == [*([20] * 6), *([None] * 9), 20]


@pytest.mark.parametrize(
    ("time", "limits"),
    [
        (0.1, {}),
        (0.6, {"warning (ms)": 1000}),
        (3, {"warning (ms)": 1000, "critical (ms)": 5000}),
    ],
)
def test_a_limit_is_drawn_once_the_response_time_comes_near(
    behind: Graphite, time: float, limits: Curves
) -> None:
    """One that is far above would flatten the curve."""
    page = drawn(behind, seconds(time=time), {"time.warn": 1, "time.crit": 5})
    assert page["Response time"] == {"time (ms)": time * 1000, **limits}


def test_each_target_has_its_curves(behind: Graphite) -> None:
    """Whatever the others have: another stage, a login alone, nothing but a domain's look-up."""
    page = drawn(
        behind,
        {"healthy.value": 3},
        seconds("example.org", resolve=0.01),
        seconds("mx.example", resolve=0.01, connect=0.02, time=0.05, certificate_days=9),
        seconds("b.example", connect=0.02, banner=0.03, time=0.1, quit=0.1),
        seconds("[2001:db8.1]", connect=0.04, time=0.04, delivery=7),
    )
    assert page == {
        "Healthy targets": {"healthy": 3},
        "Stages, [2001:db8.1]": {"connect (ms)": 40, "time (ms)": 40},
        "Stages, b.example": {"connect (ms)": 20, "banner (ms)": 50, "time (ms)": 100},
        "Stages, mx.example": {"resolve (ms)": 10, "connect (ms)": 30, "time (ms)": 50},
        "Way to the mailbox, [2001:db8.1]": {"delivery (s)": 7},
        "Certificate, mx.example": {"days left": 9},
        "b::example::quit": {"value": 0.1},
    }


def test_a_target_may_have_one_to_six_labels(behind: Graphite) -> None:
    names = [
        "localhost",
        "mx.example",
        "mx.a.example",
        "192.0.2.7",
        "a.b.c.d.example",
        "a.b.c.d.e.f",
    ]
    page = drawn(
        behind,
        *(seconds(name, connect=0.02, time=0.03) for name in names),
        seconds("d.org", resolve=0.01),
    )
    curves: Curves = {"connect (ms)": 20, "time (ms)": 30}
    assert page == {f"Stages, {name}": curves for name in names}
