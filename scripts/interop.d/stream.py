"""A counted stream of UDP: what was sent and did not come, twice or out of turn.
   stream.py send ADDRESS PORT SECONDS RATE SOURCE    prints how many it sent
   stream.py receive ADDRESS PORT QUIET               prints received, lost, twice, late; ends after QUIET seconds of silence
"""
import socket
import struct
import sys
import time

SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == "send":
    to, port, seconds, rate, source = sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), sys.argv[6]
    s.bind((source, 0))
    begin, n = time.monotonic(), 0
    while (now := time.monotonic() - begin) < seconds:
        if n >= now * rate:
            time.sleep(max(0.0, n / rate - now))
            continue
        s.sendto(struct.pack("!Q", n) + bytes(192), (to, port))
        n += 1
    print(n)
else:
    at, port, quiet = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    # Not as the system allows, but as much: what waits here is not to be lost when others have the core.
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    s.bind((at, port))
    s.settimeout(30)
    seen, twice, late, highest = set(), 0, 0, -1
    try:
        while True:
            n = struct.unpack("!Q", s.recv(2048)[:8])[0]
            s.settimeout(quiet)
            twice += n in seen
            late += n < highest
            seen.add(n)
            highest = max(highest, n)
    except TimeoutError:
        pass
    print(len(seen), highest + 1 - len(seen), twice, late)
