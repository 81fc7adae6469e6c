"""The verdict on an overload: check_overload.py LINES BEFORE AFTER, what the hosts saw and the gateway's own tables."""

import json
import sys

OUT = ("transmitted", "punted", "handed_off", "consumed", "held")
IN = ("received", "created", "injected", "taken_over")


def load(path):
    with open(path, encoding="ascii") as file:
        return json.load(file)


def main():
    lines, before, after = sys.argv[1:]
    with open(lines, encoding="ascii") as file:
        said = [json.loads(line) for line in file]
    facts = {key: value for line in said if "stage" not in line for key, value in line.items()}
    flood, rest = [line for line in said if "stage" in line]
    before, after = load(before), load(after)
    drops = {row["reason"]: row["packets"] for row in after["drops"] if row["packets"]}
    of_control = sum(row["packets"] for row in after["control_drops"])

    def total(table, *fields):
        return sum(row[field] for row in after[table] for field in fields)

    print(f"{flood['stage']}: offered {flood['offered']}, accepted by the port {flood['accepted']}, "
          f"refused by it {flood['refused']}", end="")
    print(f"; capacity {facts['capacity_pps']:.0f} a second" if "capacity_pps" in facts else "")
    for name, stage in (("meanwhile", flood), ("afterwards", rest)):
        print(f"  {name}: ARP {stage['arp_answered']} of {stage['arp_asked']}, ping {stage['pongs']} of "
              f"{stage['pings']}, IKE sent {stage['ike_sent']}, sealed {stage['sealed']}")
    print("  dropped:", ", ".join(f"{reason} {packets}" for reason, packets in drops.items()) or "nothing")
    checks = {
        "what the ports accepted was received or counted as missed":
            facts["accepted"] == total("ports", "rx_packets", "rx_missed"),
        "what was received was sent, or has a name":
            total("workers", *IN) == total("workers", *OUT) + sum(drops.values()) - of_control,
        "ARP was answered": flood["arp_answered"] == flood["arp_asked"] > 0,
        "no IKE or ARP was dropped before the slow path":
            drops.keys().isdisjoint(["urgent-ring-full", "first-message-ring-full"]),
        "nothing was lost after a tenth of a second":
            rest["refused"] == 0 and rest["sealed"] == rest["accepted"] and rest["pongs"] == rest["pings"] > 0
            and rest["arp_answered"] == rest["arp_asked"],
        "all buffers are back": after["buffers"]["in_use"] <= before["buffers"]["in_use"],
    }
    if flood["stage"] == "overload":
        checks["twice the capacity was offered"] = flood["offered"] >= 5.5 * facts["capacity_pps"]
        checks["pings were answered"] = flood["pongs"] == flood["pings"] > 0
    else:
        checks["the slow path was flooded"] = drops.get("punt-ring-full", 0) > 0
    for check, holds in checks.items():
        print(f"  {'ok' if holds else 'FAILED'}: {check}")
    return 0 if all(checks.values()) else 1


sys.exit(main())
