"""More workers than one: each on a core of its own, with its own queue of the input and its own SA."""

import json
import os
import socket
import time

from cases import PACKETS, Case
from gateways import NULL, SPARE_BUFFERS, WARM_UP, Portcullis
from make_pcap import frame, write
from traffic import MACS, Traffic

SIZES = (64, 1420)
ROUNDS = 5


class Workers(Portcullis):
    """So many workers that seal, without a peer. Entries of the SPD are dealt to workers in turn, as queues are."""

    def __init__(self, machine, size, cores):
        count = len(cores)
        super().__init__(machine, Traffic(Case("outbound", size, sas=count, spd=count, packets=PACKETS * count)), 0)
        self.cores = cores
        self.side = f"{count}-workers-{size}"
        self.buffers = SPARE_BUFFERS * count + PACKETS * count

    def endless(self):
        files = []
        for index, sa in enumerate(self.traffic.there):
            files.append(self.file(f"queue-{index}.pcap"))
            packets = [ip for ip, carrier in zip(self.traffic.clear, self.traffic.carriers) if carrier is sa]
            write(files[-1], [frame(MACS["lan"], MACS["host"], ip) for ip in packets])
        return "net_pcap0," + "".join(f"rx_pcap={file}," for file in files) + "infinite_rx=1", NULL

    def policy(self, lan_device, wan_device):
        mine = f"workers = {len(self.cores)}\ncores = {self.cores}\n"
        return super().policy(lan_device, wan_device).replace(f"cores = [{self.machine.core}]\n", mine)

    def rate(self, seconds):
        """Packets that leave per second, the sum of the workers, each in the time in which it has its core."""
        with self.start(self.endless()) as running:
            running.until(lambda: all(sent > 0 for sent in self.sent_by_worker()))
            time.sleep(WARM_UP)
            begin = self.samples(running.process.pid)
            time.sleep(seconds)
            end = self.samples(running.process.pid)
        return sum((sent - before) / (now - then) for (before, then), (sent, now) in zip(begin, end))

    def sent_by_worker(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.file("sock"))
            client.sendall(b"show\n")
            workers = json.loads(b"".join(iter(lambda: client.recv(1 << 16), b"")))["workers"]
        return [worker["transmitted"] for worker in workers]

    def samples(self, process):
        """Of each worker: what it has sent, and its own time."""
        before = time.monotonic()
        sent = self.sent_by_worker()
        now = (before + time.monotonic()) / 2
        waited = {}
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/comm", encoding="ascii") as comm:
                name = comm.read().strip()
            with open(f"/proc/{process}/task/{task}/schedstat", encoding="ascii") as file:
                waited[name] = int(file.read().split()[1]) / 1e9
        return [(count, now - waited[f"worker-{index}"]) for index, count in enumerate(sent)]


def compare(machine, count, seconds):
    """Prints a line for each size: one worker, so many, and the ratio, by the best of some rounds."""
    cores = sorted(os.sched_getaffinity(0), reverse=True)[:count]
    if len(cores) < count:
        raise SystemExit(f"bench: {count} workers take {count} cores")
    print(f"{'outbound-aes128-gcm':<24}{'1 worker Mpps':>16}{f'{count} workers Mpps':>18}{'ratio':>8}")
    for size in SIZES:
        sides = [Workers(machine, size, cores[:1]), Workers(machine, size, cores)]
        rates = [[side.rate(seconds) for side in sides] for _ in range(ROUNDS)]
        one, many = (max(column) / 1e6 for column in zip(*rates))
        print(f"{f'{size} bytes':<24}{one:>16.2f}{many:>18.2f}{many / one:>8.2f}", flush=True)
