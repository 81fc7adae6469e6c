"""What goes into the gateways, and the verdict on what comes out."""

import collections
import ipaddress
import itertools
import random
import struct

from esp import SUITES, Refused, Sa
from make_pcap import checksum, frame, packet, write

NEAR, FAR = ipaddress.IPv4Address("192.0.2.1"), ipaddress.IPv4Address("192.0.2.2")
MACS = {
    "lan": "02:00:00:00:01:01",
    "wan": "02:00:00:00:01:02",
    "host": "02:00:00:00:01:10",
    "peer": "02:00:00:00:02:02",
}
TTL = 64
IPV4 = b"\x08\x00"
PORTS = 1 << 14  # flows from one source address
CHECKED = 4096  # packets, at most


def remote_net(index):
    """The network behind SA `index`."""
    return ipaddress.IPv4Network((0x0A400000 + (index << 8), 24))


def other_net(index):
    """The network of an SPD entry that no packet matches."""
    return ipaddress.IPv4Network((0x0A800000 + (index << 8), 24))


class Traffic:
    """The packets of a case, and the SAs: `there` carry them, `back` are for the other way and idle."""

    def __init__(self, case):
        rng = random.Random(1)  # the same every time
        suite = SUITES[case.suite]
        self.case = case
        self.there = [Sa(suite, 0x1000 + i, NEAR, FAR, rng) for i in range(case.sas)]
        self.back = [Sa(suite, 0x20000 + i, FAR, NEAR, rng) for i in range(case.sas)]
        sizes = case.sizes()
        order = list(range(len(sizes)))
        if case.sas > 1:
            rng.shuffle(order)
        if len(set(sizes)) > 1:
            rng.shuffle(sizes)
        self.clear = [self._packet(index % case.flows, size, rng) for index, size in zip(order, sizes)]
        self.carriers = [self.there[index % case.flows % case.sas] for index in order]

    def frames(self, limit):
        """The input: clear packets, or the same sealed, with the numbers of each SA counting up from one."""
        for sa in self.there:
            sa.sequence = 0
        for index in range(limit):
            ip = self.clear[index % len(self.clear)]
            if self.case.direction == "outbound":
                yield frame(MACS["lan"], MACS["host"], ip)
            else:
                sealed = self.carriers[index % len(self.clear)].seal(ip)
                yield frame(MACS["wan"], MACS["peer"], sealed)

    def _packet(self, flow, size, rng):
        source = ipaddress.IPv4Address("10.1.0.2") + flow // PORTS
        destination = remote_net(flow % self.case.sas)[2]
        return packet(source, destination, 1024 + flow % PORTS, size, rng)

    def mean_size(self):
        """Bytes of a clear packet."""
        return sum(map(len, self.clear)) / len(self.clear)

    def write(self, path, limit):
        """The first packets of the input as a capture file."""
        write(path, self.frames(limit))

    def checked(self):
        """Packets that are checked."""
        return min(self.case.packets, CHECKED)

    def check(self, path, ttls):
        """Refused, unless the capture file holds exactly what must come out for the packets that are checked."""
        expected = collections.Counter(itertools.islice(itertools.cycle(self.clear), self.checked()))
        found = collections.Counter()
        carriers = {sa.spi: sa for sa in self.there}
        numbers = set()
        for data in read(path):
            if data[12:14] != IPV4:  # a gateway may also resolve and announce addresses
                continue
            ip = data[14:]
            if self.case.direction == "outbound":
                spi, number = struct.unpack_from("!II", ip, 20)
                if spi not in carriers or (spi, number) in numbers:
                    raise Refused(f"SPI {spi:#x}, sequence number {number}")
                numbers.add((spi, number))
                ip = carriers[spi].open(ip)
            found[unforwarded(ip, ttls)] += 1
        if found != expected:
            missing, foreign = (expected - found).total(), (found - expected).total()
            raise Refused(f"{missing} of {expected.total()} packets are missing, {foreign} are not what was sent")


def unforwarded(ip, ttls):
    """The packet as it was before it was forwarded; its TTL must be one of `ttls`."""
    ip = ip[: int.from_bytes(ip[2:4], "big")]
    if checksum(ip[:20]) or ip[8] not in ttls:
        raise Refused(f"inner checksum or TTL {ip[8]}")
    header = ip[:8] + bytes((TTL, ip[9], 0, 0)) + ip[12:20]
    return header[:10] + struct.pack("!H", checksum(header)) + ip[12:]


def read(path):
    """The frames of a capture file."""
    with open(path, "rb") as file:
        data = file.read()
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16 : at + 16 + length]
        at += 16 + length
