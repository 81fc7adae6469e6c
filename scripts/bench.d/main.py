"""Portcullis and DPDK's ipsec-secgw in turn: same packets, same devices, same core, alternating rounds."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import cases  # noqa: E402
import plot  # noqa: E402
import workers  # noqa: E402
from esp import Refused  # noqa: E402
from gateways import DEVICES, Failed, Machine, Portcullis, Secgw, modes  # noqa: E402
from traffic import Traffic  # noqa: E402

HUGE_PAGES = "/proc/sys/vm/nr_hugepages"
WINDOW = 1024  # packets; the policy's default
PAGES = 520  # of 2 MB; what the largest case takes
HEADER = (
    f"{'case':<36}{'Mpps':>8}{'Gbit/s':>8}{'cycles':>8}{'peer Mpps':>11}{'cycles':>8}  {'ratio':>5}  peer's best mode"
)


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    rounds: int
    seconds: float
    probe: float


QUICK = Effort(rounds=2, seconds=0.6, probe=0.25)
FULL = Effort(rounds=3, seconds=1.5, probe=0.5)


class HugePages:
    """Gets 2 MB pages for both gateways where that is possible, or none, and puts back what was."""

    def __init__(self, wanted):
        self.wanted = PAGES if wanted else 0

    def __enter__(self):
        self.before = self._read()
        enough = self.wanted and self.before >= self.wanted
        if os.geteuid() == 0 and not enough and self.before != self.wanted:
            self._write(self.wanted)
        found = self._read()
        if 0 < found < PAGES or found > self.wanted == 0:
            self.__exit__()
            sys.exit(f"bench: {found} huge pages, which one side would use and one not: reserve {PAGES}, or none")
        return found > 0

    def __exit__(self, *_):
        if os.geteuid() == 0 and self._read() != self.before:
            self._write(self.before)

    @staticmethod
    def _read():
        with open(HUGE_PAGES, encoding="ascii") as file:
            return int(file.read())

    @staticmethod
    def _write(pages):
        with open(HUGE_PAGES, "w", encoding="ascii") as file:
            file.write(str(pages))


def best_mode(machine, traffic, effort, device):
    """The peer's fastest mode among those that do the job, and why each of the others does not."""
    refused, rates = {}, {}
    for mode in modes(traffic.case.suite, device):
        peer = Secgw(machine, traffic, mode)
        try:
            peer.check()
            # Twice, so that one disturbance does not choose the mode.
            rates[mode] = max(rate(peer, effort.probe) for _ in range(2))
        except (Failed, Refused) as error:
            refused[mode.name] = str(error).partition(":\n")[0]  # without the log
    return max(rates, key=rates.get, default=None), refused


def rate(gateway, seconds):
    """Packets per second of one round."""
    return gateway.rate_of_one_pass() if gateway.case.one_pass else gateway.rate(seconds)


def measure(case, machine, effort, device):
    """One row."""
    traffic = Traffic(case)
    sides = {"ours": Portcullis(machine, traffic, WINDOW if case.one_pass else 0)}
    sides["ours"].check()
    mode, refused = best_mode(machine, traffic, effort, device)
    if mode:
        sides["peer"] = Secgw(machine, traffic, mode)
    if case.one_pass:
        sides["without_window"] = Portcullis(machine, traffic, 0)
    rates = {side: [] for side in sides}
    for _ in range(effort.rounds):
        for side, gateway in sides.items():
            rates[side].append(rate(gateway, effort.seconds))
    return row(case, machine, traffic, rates, mode, refused)


def row(case, machine, traffic, rates, mode, refused):
    """The object of `--json`."""
    hertz = cycles_per_second()
    result = {
        "case": case.name,
        "direction": case.direction,
        "size": case.size,
        "suite": case.suite,
        "sas": case.sas,
        "spd": case.spd,
        "flows": case.flows,
        "headline": case.headline,
        "replay_window": WINDOW if case.one_pass else 0,
        "huge_pages": machine.huge_pages,
        "ours_gbps": round(max(rates["ours"]) * traffic.mean_size() * 8 / 1e9, 2),
        "peer": mode.name if mode else None,
        "peer_refused": refused,
    }
    for side, found in rates.items():
        for suffix, pps in (("", max(found)), ("_median", statistics.median(found))):
            result[f"{side}_mpps{suffix}"] = round(pps / 1e6, 3)
            result[f"{side}_cycles{suffix}"] = round(hertz / pps)
    if mode:
        result["ratio"] = round(max(rates["ours"]) / max(rates["peer"]), 2)
        result["ratio_median"] = round(statistics.median(rates["ours"]) / statistics.median(rates["peer"]), 2)
    return result


def cycles_per_second():
    """Of the time stamp counter: the kernel counts two bogus instructions a cycle of it."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        line = next(line for line in file if line.startswith("bogomips"))
    return float(line.split(":")[1]) * 1e6 / 2


def line(result):
    """The row as text."""
    text = f"{result['case']:<36}{result['ours_mpps']:>8.2f}{result['ours_gbps']:>8.1f}{result['ours_cycles']:>8}"
    if result["peer"] is None:
        return text + f"{'n/a':>11}{'':>8}  {'':>5}  passes no check"
    text += f"{result['peer_mpps']:>11.2f}{result['peer_cycles']:>8}  {result['ratio']:>5.2f}  {result['peer']}"
    if "without_window_cycles" in result:
        text += f" (ours without replay window: {result['without_window_cycles']})"
    return text


def arguments():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the headline table, within three minutes")
    parser.add_argument("--case", metavar="SUBSTRING", default="", help="only cases with this in their name")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--json", metavar="FILE", help="write one object per case")
    parser.add_argument("--svg", metavar="FILE", help="write a plot of the cases")
    parser.add_argument("--small-pages", action="store_true", help="4 KB pages even where 2 MB pages can be had")
    parser.add_argument("--peer", metavar="DEVICE", choices=DEVICES, help="the peer with this crypto device alone")
    parser.add_argument("--workers", type=int, metavar="N", help="so many workers beside one, without the peer")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="core of the worker")
    return parser.parse_args()


def main():
    given = arguments()
    chosen = [case for case in (cases.quick() if given.quick else cases.full()) if given.case in case.name]
    if given.list:
        print("\n".join(case.name for case in chosen))
        return 0
    effort = QUICK if given.quick else FULL
    if given.workers:
        with HugePages(not given.small_pages) as huge, tempfile.TemporaryDirectory(prefix="portcullis-bench.") as directory:
            workers.compare(Machine(directory, given.core, huge), given.workers, effort.seconds)
        return 0
    results, failed = [], []
    with HugePages(not given.small_pages) as huge:
        print(f"core {given.core}, {'2 MB' if huge else '4 KB'} pages, best of {effort.rounds}")
        print(HEADER, flush=True)
        for case in chosen:
            with tempfile.TemporaryDirectory(prefix="portcullis-bench.") as directory:
                machine = Machine(directory, given.core, huge)
                try:
                    results.append(measure(case, machine, effort, given.peer))
                except (Failed, Refused, subprocess.TimeoutExpired) as error:
                    failed.append(case.name)
                    print(f"{case.name:<36}FAILED: {error}", flush=True)
                else:
                    print(line(results[-1]), flush=True)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    if given.svg:
        plot.write(given.svg, results)
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
