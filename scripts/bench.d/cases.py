"""What is measured."""

from dataclasses import dataclass

# IMIX: seven small, four middle and one large packet of twelve, in bytes of the IP packet.
IMIX = (64,) * 7 + (576,) * 4 + (1420,)
FLOWS = 64
PACKETS = FLOWS  # one of each flow: the input stays in the cache, as packets do that a NIC has just written there


@dataclass(frozen=True)
class Case:
    """One row of the table. Sizes are those of the clear IP packet."""

    direction: str  # `outbound` or `inbound`
    size: int | str  # bytes, or `imix`
    suite: str = "aes128-gcm"
    sas: int = 1
    spd: int = 1
    packets: int = PACKETS
    flows: int = FLOWS
    headline: bool = False
    # The capture is read from its file, once, instead of from memory in a loop: what a replay window needs, since a
    # loop repeats sequence numbers. Reading costs both sides the same.
    one_pass: bool = False

    @property
    def name(self):
        name = f"{self.direction}-{self.suite}-{self.size}"
        if self.sas > 1:
            name += f"-{self.sas}sa"
        if self.spd > 1:
            name += f"-{self.spd}spd"
        if self.one_pass:
            name += "-window"
        return name + ("-newflows" if self.flows == NEW_FLOWS else "")

    def sizes(self):
        """Size of each packet, before they are shuffled."""
        mix = IMIX if self.size == "imix" else (self.size,)
        different = PACKETS if self.one_pass else self.packets
        return [mix[index % len(mix)] for index in range(different)]


def quick():
    """The headline table."""
    return [Case(direction, size, headline=True) for direction in DIRECTIONS for size in (64, 512, 1420)]


def full():
    """Everything."""
    cases = []
    for direction in DIRECTIONS:
        cases += [Case(direction, size, headline=True) for size in (64, 512, 1420)]
        cases += [Case(direction, "imix", packets=len(IMIX) * 16)]
        cases += [Case(direction, size, sas=1000, spd=1000, packets=1000, flows=1000) for size in (64, 1420)]
        cases += [Case(direction, 64, spd=spd) for spd in (100, 1000, 10_000)]
        for suite in ("aes256-gcm", "aes128-cbc-sha1", "aes256-cbc-sha256", "chacha20-poly1305"):
            cases += [Case(direction, size, suite=suite) for size in (64, 512, 1420)]
    # Four times as many flows as a flow cache of the usual size holds: of one flow in fifty it still knows when it comes
    # again, all others are new.
    cases += [Case("outbound", 64, spd=spd, packets=NEW_FLOWS, flows=NEW_FLOWS) for spd in (1, 10_000)]
    # A replay window, and as many packets as make a fraction of a second.
    cases += [Case("inbound", size, packets=count, one_pass=True) for size, count in ONE_PASS]
    return cases


DIRECTIONS = ("outbound", "inbound")
NEW_FLOWS = 1 << 18
ONE_PASS = ((64, 1_500_000), (512, 1_000_000), (1420, 500_000))
