"""The wire between two namespaces does to packets what it says, and to no others."""

from __future__ import annotations

import pytest

from tests.servers import wire

PACKETS = [bytes(24) + b"%04d" % number + b"." * 12 for number in range(1, 7)]
"""They differ in TCP's sequence number alone."""

Arrivals = list[list[tuple[float, bytes]]]


def arrivals(fault: wire.Fault, *, to_server: bool) -> Arrivals:
    """Return what comes of each packet."""
    carriage = fault()
    return [list(carriage(packet, to_server)) for packet in PACKETS]


def unharmed(*, but: dict[int, list[tuple[float, bytes]]]) -> Arrivals:
    """Return what comes of the packets when all but these arrive as they are."""
    return [but.get(number, [(0, packet)]) for number, packet in enumerate(PACKETS, 1)]


@pytest.mark.parametrize("to_server", [True, False])
@pytest.mark.parametrize(
    ("fault", "but"),
    [
        (wire.perfect, {}),
        (wire.losing(4), {4: []}),
        (wire.losing(3), {3: [], 6: []}),
        (wire.losing_the_first, {1: []}),
        (wire.corrupting(5), {5: [(0, PACKETS[4][:-1] + b"/")]}),
        (wire.reordering(3, 0.02), {3: [(0.02, PACKETS[2])], 6: [(0.02, PACKETS[5])]}),
        (wire.repeating, {n: [(0, packet)] * 2 for n, packet in enumerate(PACKETS, 1)}),
        (wire.delaying(0.05), {n: [(0.05, packet)] for n, packet in enumerate(PACKETS, 1)}),
        (wire.narrow(40), {}),
        (wire.narrow(39), {n: [] for n in range(1, 7)}),
    ],
)
def test_fault(
    fault: wire.Fault, but: dict[int, list[tuple[float, bytes]]], to_server: bool
) -> None:
    assert arrivals(fault, to_server=to_server) == unharmed(but=but)


def test_each_direction_is_counted_by_itself() -> None:
    carriage = wire.losing(2)()
    got = [carriage(b"x", to_server) for to_server in (True, False, True, False)]
    assert got == [[(0, b"x")], [(0, b"x")], [], []]


def test_no_packet_is_lost_twice() -> None:
    carriage = wire.losing(2)()
    assert [len(carriage(b"x", True)) for _ in range(6)] == [1, 0, 1, 1, 1, 1]


def test_a_cut_comes_after_the_words_of_the_server() -> None:
    cut: dict[int, list[tuple[float, bytes]]] = {4: [], 5: [], 6: []}
    assert arrivals(wire.cut(b"0003"), to_server=False) == unharmed(but=cut)
    assert arrivals(wire.cut(b"0003"), to_server=True) == unharmed(but={})
    assert arrivals(wire.cut(b"0003", 0), to_server=False) == unharmed(but={})
