#!/usr/bin/env python3
"""Writes a capture file of UDP packets over IPv4 from many flows, with random content and right checksums."""

import argparse
import ipaddress
import random
import struct


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, destination, port, size, rng):
    """An IPv4 packet of `size` bytes."""
    length = size - 20
    payload = rng.randbytes(length - 8)
    pseudo = source.packed + destination.packed + struct.pack("!BBH", 0, 17, length)
    udp = struct.pack("!HHH", port, 9, length)
    udp += struct.pack("!H", checksum(pseudo + udp + b"\0\0" + payload) or 0xFFFF)
    header = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, 17, 0) + source.packed + destination.packed
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return header + udp + payload


def frame(to_mac, from_mac, ip):
    """An Ethernet frame without its check sequence."""
    macs = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in (to_mac, from_mac))
    return (macs + b"\x08\x00" + ip).ljust(60, b"\0")


def write(path, frames):
    """A capture file of the frames."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for index, data in enumerate(frames):
            out.write(struct.pack("<IIII", index // 10**6, index % 10**6, len(data), len(data)) + data)


def sizes(text):
    """`64` or `64-1400`, in bytes of the IP packet."""
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("file")
    options.add_argument("--packets", type=int, default=1024)
    options.add_argument("--flows", type=int, default=64)
    options.add_argument("--size", type=sizes, default=(64, 64), help="bytes of the IP packet, or a range")
    options.add_argument("--source", type=ipaddress.IPv4Address, default=ipaddress.IPv4Address("10.1.0.2"))
    options.add_argument("--destination", type=ipaddress.IPv4Address, default=ipaddress.IPv4Address("10.2.0.2"))
    options.add_argument("--to-mac", default="02:00:00:00:01:01")
    options.add_argument("--from-mac", default="02:00:00:00:01:10")
    given = options.parse_args()

    rng = random.Random(1)  # the same file every time
    frames = []
    for index in range(given.packets):
        size = rng.randint(*given.size)
        ip = packet(given.source, given.destination, 1024 + index % given.flows, size, rng)
        frames.append(frame(given.to_mac, given.from_mac, ip))
    write(given.file, frames)


if __name__ == "__main__":
    main()
