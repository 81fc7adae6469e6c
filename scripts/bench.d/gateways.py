"""The two gateways: how each is told the same policy, started on the same devices, counted and ended."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

from traffic import FAR, MACS, NEAR, TTL, other_net, remote_net, write

START = 60  # seconds that a start may take
WARM_UP = 0.3
NULL = "net_null0,no-rx=1"
SPARE_BUFFERS = 7167  # beside those that hold the input


class Failed(Exception):
    """A gateway did not start, or ended."""


@dataclass(frozen=True)
class Machine:
    """What both gateways get."""

    directory: str
    core: int
    huge_pages: bool


class Running:
    """A process. Leaving the block ends it."""

    def __init__(self, command, log):
        self.log = log
        with open(log, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def fail(self, what):
        with open(self.log, errors="replace") as log:
            tail = "".join(log.readlines()[-12:])
        raise Failed(f"{what}:\n{tail}")

    def waited(self):
        """Seconds that the busiest thread, the worker, was kept from its core by other processes."""
        tasks = f"/proc/{self.process.pid}/task"
        times = []
        for task in os.listdir(tasks):
            # A thread may end meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"{tasks}/{task}/schedstat", encoding="ascii") as file:
                times.append([int(word) for word in file.read().split()])
        return max(times)[1] / 1e9

    def until(self, ready, seconds=START):
        """Waits until `ready()` is true."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, ValueError):
                if ready():
                    return
            if self.process.poll() is not None:
                self.fail(f"{os.path.basename(self.process.args[0])} has ended")
            if time.monotonic() > deadline:
                self.fail(f"{os.path.basename(self.process.args[0])} does nothing")
            time.sleep(0.02)


def slope(running, begin, end):
    """Packets per second between two samples."""
    if end[0] == begin[0]:
        running.fail("nothing leaves")
    return (end[0] - begin[0]) / (end[1] - begin[1])


class Gateway:
    """What the two have in common."""

    def __init__(self, machine, traffic):
        self.machine, self.traffic, self.case = machine, traffic, traffic.case
        self.outbound = self.case.direction == "outbound"
        self.buffers = SPARE_BUFFERS + (0 if self.case.one_pass else self.case.packets)

    def file(self, name):
        return os.path.join(self.machine.directory, f"{self.side}-{name}")

    def endless(self):
        """The devices (LAN, WAN) of a measurement: the input from memory, for ever, and nowhere."""
        source = f"net_pcap0,rx_pcap={self.input('input.pcap', self.case.packets)},infinite_rx=1"
        return (source, NULL) if self.outbound else (NULL, source)

    def once(self):
        """The devices of a single pass: the input from its file, and nowhere."""
        source = f"net_pcap0,rx_pcap={self.input('input.pcap', self.case.packets)}"
        return (source, NULL) if self.outbound else (NULL, source)

    def finite(self):
        """The devices of a check: the input once, and into a file."""
        source = f"net_pcap0,rx_pcap={self.input('checked.pcap', self.traffic.checked())},tx_pcap=/dev/null"
        empty = os.path.join(self.machine.directory, "empty.pcap")
        write(empty, [])
        sink = f"net_pcap1,rx_pcap={empty},tx_pcap={self.file('output.pcap')}"
        return (source, sink) if self.outbound else (sink, source)

    def input(self, name, limit):
        path = os.path.join(self.machine.directory, name)
        if not os.path.exists(path):
            self.traffic.write(path, limit)
        return path

    def rate(self, seconds):
        """Packets that leave per second in which the worker has its core."""
        with self.start(self.endless()) as running:
            running.until(lambda: self.sent() > 0)
            time.sleep(WARM_UP)
            begin = self.sample(running)
            time.sleep(seconds)
            return slope(running, begin, self.sample(running))

    def rate_of_one_pass(self):
        """The same over one pass through a capture file, from its first tenth to its last."""
        packets = self.case.packets
        with self.start(self.once()) as running:
            running.until(lambda: self.sent() > packets // 10)
            samples = [self.sample(running)]
            while samples[-1][0] < packets * 9 // 10:
                time.sleep(0.005)
                samples.append(self.sample(running))
                if samples[-1][1] - samples[0][1] > START:
                    running.fail("packets are missing")
        return slope(running, samples[0], samples[-2])

    def sample(self, running):
        """The counter, and the worker's time in the middle of reading it."""
        before = time.monotonic()
        sent = self.sent()
        return sent, (before + time.monotonic()) / 2 - running.waited()

    def check(self):
        """Refused, unless what leaves is right."""
        self.drain()
        self.traffic.check(self.file("output.pcap"), self.ttls)


class Portcullis(Gateway):
    """Ours."""

    side = "ours"
    ttls = (TTL - 1,)

    def __init__(self, machine, traffic, window):
        super().__init__(machine, traffic)
        self.window = window
        self.port = "wan" if self.outbound else "lan"

    def start(self, devices, *more):
        config = self.file("policy.toml")
        with open(config, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(self.policy(*devices))
        return Running([os.environ["PORTCULLIS"], "run", "--config", config, *more], self.file("log"))

    def drain(self):
        with self.start(self.finite(), "--drain") as running:
            if running.process.wait(START):
                running.fail("portcullis failed")

    def sent(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.file("sock"))
            client.sendall(b"show\n")
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        return next(port["tx_packets"] for port in json.loads(answer)["ports"] if port["port"] == self.port)

    def policy(self, lan_device, wan_device):
        lan, wan, far = ("10.1.0.1", NEAR, FAR) if self.outbound else ("10.3.0.1", FAR, NEAR)
        via = far if self.outbound else "10.3.0.2"
        text = [f"""
[runtime]
control-socket = "{self.file("sock")}"
cores = [{self.machine.core}]
mbufs = {self.buffers}

[[port]]
name = "lan"
device = "{lan_device}"
side = "protected"
addresses = ["{lan}/24"]
mac = "{MACS["lan"]}"

[[port]]
name = "wan"
device = "{wan_device}"
side = "unprotected"
addresses = ["{wan}/24"]
mac = "{MACS["wan"]}"

[[route]]
destination = "10.64.0.0/10"
via = "{via}"

[[neighbor]]
address = "{via}"
mac = "{MACS["peer"]}"
"""]
        out, back = (
            (self.traffic.there, self.traffic.back) if self.outbound else (self.traffic.back, self.traffic.there)
        )
        text += [self._sa("outbound", sa) for sa in out] + [self._sa("inbound", sa) for sa in back]
        local, remote = ("local", "remote") if self.outbound else ("remote", "local")
        for index in range(self.case.spd - self.case.sas):
            text.append(f"""
[[spd]]
name = "other-{index}"
{local} = "10.1.0.0/24"
{remote} = "{other_net(index)}"
action = "discard"
""")
        for index in range(self.case.sas):
            text.append(f"""
[[spd]]
name = "protect-{index}"
{local} = "10.1.0.0/24"
{remote} = "{remote_net(index)}"
action = "protect"
outbound = "outbound-{out[index].spi:x}"
inbound = "inbound-{back[index].spi:x}"
""")
        return "".join(text)

    def _sa(self, direction, sa):
        text = f"""
[[sa]]
name = "{direction}-{sa.spi:x}"
direction = "{direction}"
protocol = "esp"
spi = {sa.spi}
mode = "tunnel"
source = "{sa.source}"
destination = "{sa.destination}"
encryption = "{sa.suite.encryption}"
key = "{sa.key.hex()}"
"""
        if sa.suite.integrity:
            text += f'integrity = "{sa.suite.integrity}"\nintegrity-key = "{sa.auth.hex()}"\n'
        if direction == "inbound":
            text += f"replay-window = {self.window}\n"
        return text


@dataclass(frozen=True)
class Mode:
    """A way to run ipsec-secgw."""

    device: str
    cpu_crypto: bool

    @property
    def name(self):
        return f"{self.device} {'cpu-crypto' if self.cpu_crypto else 'lookaside'}"


DEVICES = ("aesni_gcm", "aesni_mb")


def modes(suite, device=None):
    """The modes that may do a suite, or those with one device: aesni_gcm has AES-GCM and nothing else."""
    devices = DEVICES if suite.endswith("gcm") else DEVICES[1:]
    return [Mode(d, cpu) for d in devices if device in (None, d) for cpu in (False, True)]


class Secgw(Gateway):
    """DPDK's example. It has no replay window unless its library mode is given one, and is given none."""

    side = "peer"
    # Its lookaside mode counts the hop, its library mode leaves that to others.
    ttls = (TTL - 1, TTL)

    def __init__(self, machine, traffic, mode):
        super().__init__(machine, traffic)
        self.mode = mode
        self.prefix = f"portcullis-bench-{os.getpid()}"
        self.port = 1 if self.outbound else 0

    def start(self, devices, *_):
        config, core = self.file("secgw.cfg"), self.machine.core
        with open(config, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(self.configuration())
        megabytes = str((self.buffers * 5120 >> 20) + 320)
        memory = ["--in-memory"] if self.machine.huge_pages else ["--no-huge"]
        command = [os.environ["SECGW"], "-l", str(core), "-m", megabytes, *memory, "--no-pci"]
        command += ["--file-prefix", self.prefix, "--log-level=lib.eal:debug", "--vdev", f"crypto_{self.mode.device}0"]
        for device in devices:
            command += ["--vdev", device]
        # Both ports are polled, as Portcullis polls them.
        command += ["--", "-p", "3", "-u", "2", "-f", config, "--config", f"(0,0,{core}),(1,0,{core})"]
        command += ["-s", str(self.buffers)] + (["-l"] if self.mode.cpu_crypto else [])
        return Running(command, self.file("log"))

    def drain(self):
        packets = self.traffic.checked()
        with self.start(self.finite()) as running:
            running.until(lambda: self.sent() >= 0)
            with contextlib.suppress(Failed):  # what is missing is named by the check
                # It takes a while to make its buffers.
                running.until(lambda: self.sent() >= packets, 5 + self.buffers / 10_000)

    def sent(self):
        base = "/var/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "/tmp")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(f"{base}/dpdk/{self.prefix}/dpdk_telemetry.v2")
            client.recv(1 << 14)
            client.sendall(f"/ethdev/stats,{self.port}".encode())
            # Null until the port is there.
            figures = json.loads(client.recv(1 << 14))["/ethdev/stats"]
            return figures["opackets"] if figures else -1

    def cycles_per_second(self):
        """Of the time stamp counter, as DPDK has found it at the last start."""
        with open(self.file("log"), errors="replace") as log:
            found = re.search(r"TSC frequency is ~(\d+) KHz", log.read())
        return int(found[1]) * 1000 if found else None

    def configuration(self):
        there, back = ("out", "in") if self.outbound else ("in", "out")
        action = " type cpu-crypto" if self.mode.cpu_crypto else " type no-offload"
        lines = []
        for index, (sa, reverse) in enumerate(zip(self.traffic.there, self.traffic.back)):
            net = remote_net(index)
            lines.append(self._sp(there, f"protect {sa.spi}", "10.1.0.0/24", net))
            lines.append(self._sp(back, f"protect {reverse.spi}", net, "10.1.0.0/24"))
            lines += [self._sa(there, sa) + action, self._sa(back, reverse) + action]
        for index in range(self.case.spd - self.case.sas):
            net = other_net(index)
            lines.append(self._sp(there, "discard", "10.1.0.0/24", net))
            lines.append(self._sp(back, "discard", net, "10.1.0.0/24"))
        lines += [f"rt ipv4 dst {FAR if self.outbound else NEAR}/32 port 1", "rt ipv4 dst 10.64.0.0/10 port 0"]
        lines += [f"neigh port {port} {MACS['peer']}" for port in (0, 1)]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _sp(direction, action, source, destination):
        return f"sp ipv4 {direction} esp {action} pri 1 src {source} dst {destination} sport 0:65535 dport 0:65535"

    @staticmethod
    def _sa(direction, sa):
        algorithms = sa.suite.peer.format(key=sa.key.hex(":"), auth=sa.auth.hex(":"))
        return f"sa {direction} {sa.spi} {algorithms} mode ipv4-tunnel src {sa.source} dst {sa.destination}"
