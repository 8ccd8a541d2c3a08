"""A wire between two network namespaces that loses, delays, repeats and cuts what it carries.

It does in user space what ``tc netem`` does in kernels that have it, and does it exactly: not a
quarter of the packets by chance, but each fourth one.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import stat
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import needs
from tests.servers.namespace import Namespace

NAME = "wire"

Carriage = Callable[[bytes, bool], Sequence[tuple[float, bytes]]]
"""From a packet, and whether it goes to the server, to what arrives, and after how many seconds."""

Fault = Callable[[], Carriage]
"""Makes a carriage: what it has carried before may decide what it does."""

_SEQUENCE_NUMBER = slice(24, 28)
"""That of TCP, behind an IPv4 header without options."""

_DEVICE = Path("/dev/net/tun")
_DEVICE_NUMBER = os.makedev(10, 200)
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001


def perfect() -> Carriage:
    """Carry everything."""
    return lambda packet, _: [(0, packet)]


def delaying(seconds: float) -> Fault:
    """Take that long each way."""
    return lambda: lambda packet, _: [(seconds, packet)]


def losing(each: int) -> Fault:
    """Lose every nth packet of either direction, ``each`` being n, but none twice."""
    return _each(each, lambda _: [])


def losing_the_first() -> Carriage:
    """Lose the first packet, which is the SYN."""
    seen: list[bytes] = []

    def carry(packet: bytes, _: bool) -> Sequence[tuple[float, bytes]]:
        seen.append(packet)
        return [(0, packet)] if len(seen) > 1 else []

    return carry


def corrupting(each: int) -> Fault:
    """Flip a bit of every nth packet of either direction, but of none twice."""
    return _each(each, lambda packet: [(0, packet[:-1] + bytes([packet[-1] ^ 1]))])


def reordering(each: int, seconds: float) -> Fault:
    """Have every nth packet be overtaken by those behind it."""
    return _each(each, lambda packet: [(seconds, packet)])


def repeating() -> Carriage:
    """Carry everything twice."""
    return lambda packet, _: [(0, packet), (0, packet)]


def narrow(limit: int) -> Fault:
    """Drop, without a word, what is larger than ``limit`` bytes."""
    return lambda: lambda packet, _: [(0, packet)] if len(packet) <= limit else []


def cut(after: bytes, seconds: float = float("inf")) -> Fault:
    """Carry nothing for some seconds once the server has said ``after``."""

    def make() -> Carriage:
        said: list[float] = []

        def carry(packet: bytes, to_server: bool) -> Sequence[tuple[float, bytes]]:
            if said and time.monotonic() < said[0] + seconds:
                return []
            if not said and not to_server and after in packet:
                said.append(time.monotonic())
            return [(0, packet)]

        return carry

    return make


def _each(number: int, fault: Callable[[bytes], Sequence[tuple[float, bytes]]]) -> Fault:
    def make() -> Carriage:
        count = Counter[bool]()
        spoilt: set[tuple[bool, bytes, int]] = set()

        def carry(packet: bytes, to_server: bool) -> Sequence[tuple[float, bytes]]:
            count[to_server] += 1
            identity = (to_server, packet[_SEQUENCE_NUMBER], len(packet))
            # TCP waits twice as long each time: a packet spoilt again and again takes minutes.
            if count[to_server] % number or identity in spoilt:
                return [(0, packet)]
            spoilt.add(identity)
            return fault(packet)

        return carry

    return make


@contextmanager
def between(near: Namespace, far: Namespace, fault: Fault, moments: list[float]) -> Iterator[None]:
    """Connect two namespaces by an interface ``wire`` in each; note the moment of each packet."""
    ends = [_end(near), _end(far)]
    wake_out, wake_in = os.pipe()
    carrying = threading.Thread(target=_carry, args=(ends[0], ends[1], wake_out, fault(), moments))
    carrying.start()
    try:
        yield
    finally:
        os.write(wake_in, b"\0")
        carrying.join()
        for descriptor in (*ends, wake_out, wake_in):
            os.close(descriptor)


def is_possible() -> bool:
    """Whether this process can have namespaces and wires: not without root and a TUN device."""
    if os.geteuid() != 0 or not all(map(needs.found, ("ip", "nsenter", "unshare"))):
        return False
    try:
        namespace = Namespace()
        os.close(_end(namespace))
        namespace.close()
    except OSError:
        return False
    return True


def _end(namespace: Namespace) -> int:
    with namespace.entered():
        descriptor = _device()
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", NAME.encode(), _IFF_TUN_NO_PI))
    return descriptor


def _device() -> int:
    if _DEVICE.exists():
        return os.open(_DEVICE, os.O_RDWR)
    # A bare root file system lacks the node, not the driver.
    with tempfile.TemporaryDirectory() as folder:
        node = Path(folder) / "tun"
        os.mknod(node, 0o600 | stat.S_IFCHR, _DEVICE_NUMBER)
        return os.open(node, os.O_RDWR)


def _carry(near: int, far: int, wake: int, carriage: Carriage, moments: list[float]) -> None:
    others = {near: far, far: near}
    under_way: list[tuple[float, int, int, bytes]] = []
    order = 0
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, end, packet = heapq.heappop(under_way)
            with suppress(OSError):  # the other side has gone
                os.write(end, packet)
        timeout: float | None = under_way[0][0] - now if under_way else None
        ready, _, _ = select.select([near, far, wake], [], [], timeout)
        if wake in ready:
            return
        for end in ready:
            packet = os.read(end, 65536)
            # IPv6 has traffic of its own, in which no fault is to be spent.
            is_ipv4 = packet[0] >> 4 == 4
            if is_ipv4:
                moments.append(time.monotonic())
            for seconds, carried in carriage(packet, end == near) if is_ipv4 else [(0, packet)]:
                order += 1
                entry = (time.monotonic() + seconds, order, others[end], carried)
                heapq.heappush(under_way, entry)
