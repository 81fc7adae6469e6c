#!/usr/bin/env python3
"""Writes modp_exchanges.json: Diffie-Hellman in each MODP group, computed by Python's integers."""

import json
import pathlib
import random

here = pathlib.Path(__file__).parent
draw = random.Random(3526)


def padded(number, bits):
    return number.to_bytes(bits // 8, "big").hex()


tests = []
for group in json.loads((here / "modp_groups.json").read_text())["tests"]:
    p, bits = int(group["p"], 16), group["bits"]
    # A secret that begins with a zero byte must keep it (RFC 2409 5).
    for leading_zero in (False, True):
        while True:
            i, r = draw.getrandbits(240), draw.getrandbits(240)
            secret = padded(pow(2, i * r, p), bits)
            if secret.startswith("00") == leading_zero or bits > 2048:
                break
        tests.append({
            "group": group["group"],
            "i": padded(i, 240),
            "r": padded(r, 240),
            "public_i": padded(pow(2, i, p), bits),
            "public_r": padded(pow(2, r, p), bits),
            "secret": secret,
        })
(here / "modp_exchanges.json").write_text(json.dumps({"tests": tests}, indent=1) + "\n")
