"""Numbered datagrams, and who counts them.

    traffic.py send ADDRESS RATE MARKER PORT...     until standard input ends; prints how many went to each port
    traffic.py count PORT...                        until standard input ends; prints how many different ones came
    traffic.py sweep NETWORK RATE                   to each address of a network in turn; prints how many went
    traffic.py forge INTERFACE MAC FROM TO MARKER   clear packets that no gateway may let in
"""

import ipaddress
import itertools
import select
import socket
import struct
import sys
import threading
import time

ended = threading.Event()


def wait_for_end():
    sys.stdin.read()
    ended.set()


def send(address, rate, marker, *ports):
    sockets = {port: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for port in ports}
    number, began = 0, time.monotonic()
    sent = dict.fromkeys(ports, 0)
    print("ready", flush=True)
    while not ended.is_set():
        number += 1
        for port, end in sockets.items():
            try:
                end.sendto(struct.pack("!Q", number) + marker.encode(), (address, int(port)))
                sent[port] += 1
            except OSError:  # the way is not there: nothing was sent
                pass
        wait = began + number / float(rate) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    print(*sent.values(), flush=True)


def sweep(network, rate):
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    began = time.monotonic()
    print("ready", flush=True)
    hosts = itertools.cycle([str(host) for host in ipaddress.ip_network(network).hosts()])
    for number, host in enumerate(hosts):
        if ended.is_set():
            break
        end.sendto(b"is anybody there?", (host, 7))
        wait = began + number / float(rate) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    print(number, flush=True)


def count(*ports):
    sockets = {}
    for port in ports:
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        end.bind(("0.0.0.0", int(port)))
        sockets[end] = set()
    print("ready", flush=True)
    while True:
        ready = select.select(list(sockets), [], [], 0.5)[0]
        if not ready and ended.is_set():
            break
        for end in ready:
            sockets[end].add(end.recv(2048)[:8])
    print(*(len(numbers) for numbers in sockets.values()), flush=True)


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def forge(interface, mac, source, destination, marker):
    payload = marker.encode()
    udp = struct.pack("!4H", 6666, 5555, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    header += socket.inet_aton(source) + socket.inet_aton(destination)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    frame = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\6\6" + b"\x08\0" + header + udp
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    end.bind((interface, 0))
    print("ready", flush=True)
    sent = 0
    while not ended.is_set():
        end.send(frame)
        sent += 1
        time.sleep(0.005)
    print(sent, flush=True)


threading.Thread(target=wait_for_end, daemon=True).start()
{"send": send, "sweep": sweep, "count": count, "forge": forge}[sys.argv[1]](*sys.argv[2:])
