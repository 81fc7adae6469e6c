"""First messages of phase 1 from everywhere, and with them ten times a second as many at once that claim to belong to an
IKE SA, for as long as standard input is open.

    flood.py INTERFACE MAC DESTINATION MESSAGE RATE

MESSAGE is one in hex, as a peer sent it; RATE is for each kind. Each goes out with made-up cookies, an address of
198.18.0.0/15 and a port of its own. Prints how many first messages went.
"""

import itertools
import os
import random
import select
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(link, destination, message, cookies):
    source = struct.pack("!I", (198 << 24) + (18 << 16) + random.randrange(1 << 17))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(message), 1, 0, 64, 17, 0) + source + destination
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    # Without a checksum, as UDP over IPv4 may be.
    udp = struct.pack("!4H", random.randrange(1024, 65536), 500, 8 + len(message), 0)
    # RFC 2408 3.1: the initiator's cookie, which is never zero, and the responder's, which is so in first messages only.
    return link + ip + udp + os.urandom(8 * cookies) + message[8 * cookies :]


interface, mac, destination, message, rate = *sys.argv[1:5], int(sys.argv[5])
link = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\6\6" + b"\x08\0"
end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
end.bind((interface, 0))
address, message = socket.inet_aton(destination), bytes.fromhex(message)
later = [frame(link, address, message, 2) for _ in range(rate // 10)]
began = time.monotonic()
for number in itertools.count():
    wait = began + number / rate - time.monotonic()
    if select.select([sys.stdin], [], [], max(wait, 0))[0]:
        break
    end.send(frame(link, address, message, 1))
    if number % len(later) == 0:
        for each in later:
            end.send(each)
print(number, "in", round(time.monotonic() - began, 1), "s")
