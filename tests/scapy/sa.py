#!/usr/bin/env python3
"""Seals or opens ESP and AH packets with scapy, as a plan in JSON says.

sa.py seal PLAN: each IP packet of plan["in"] becomes a protected one in plan["out"]; plan["packets"] names for each
                 the SPI and the 64 bit sequence number.
sa.py open PLAN: each protected packet of plan["in"] is verified and decrypted; printed is a JSON list that holds for
                 each the clear packet in hex, or "!" and what is wrong with it.
"""

import json
import logging
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap


def association(spi, sa):
    """The scapy object for one SA of the plan."""
    options = {}
    if sa["crypt"]:
        options["crypt_algo"] = sa["crypt"]
        options["crypt_key"] = bytes.fromhex(sa["crypt_key"])
    if sa["crypt_icv"]:
        options["crypt_icv_size"] = sa["crypt_icv"]
    if sa["auth"]:
        options["auth_algo"] = sa["auth"]
        options["auth_key"] = bytes.fromhex(sa["auth_key"])
    if sa["tunnel"]:
        source, destination = sa["tunnel"]
        header = IPv6 if ":" in source else IP
        options["tunnel_header"] = header(src=source, dst=destination)
    if sa["udp"]:
        options["nat_t_header"] = UDP(sport=4500, dport=4500)
    protocol = {"esp": ESP, "ah": AH}[sa["protocol"]]
    return SecurityAssociation(protocol, spi=spi, esn_en=sa["esn"], **options)


def reparsed(packet):
    """The packet as it is read from the wire, without what scapy remembers of its making."""
    return (IPv6 if packet.version == 6 else IP)(bytes(packet))


def seal(frame, sas, spi, sequence):
    sa = sas[spi]
    # Zero would mean "not given" if passed as an argument.
    sa.seq_num, sa.esn = sequence & 0xFFFFFFFF, sequence >> 32
    packet = sa.encrypt(reparsed(frame.payload))
    return Ether(src=frame.src, dst=frame.dst) / reparsed(packet)


def unseal(frame, sas):
    packet = reparsed(frame.payload)
    for protocol in (ESP, AH):
        if protocol in packet:
            return bytes(sas[packet[protocol].spi].decrypt(packet)).hex()
    raise ValueError("not protected: " + packet.summary())


def attempt(frame, sas):
    try:
        return unseal(frame, sas)
    except Exception as error:  # whatever scapy raises, the packet is to be named
        return f"!{type(error).__name__}: {error}"


def main():
    action, path = sys.argv[1:]
    with open(path, encoding="ascii") as file:
        plan = json.load(file)
    sas = {int(spi): association(int(spi), sa) for spi, sa in plan["sas"].items()}
    frames = rdpcap(plan["in"])
    if action == "seal":
        wrpcap(plan["out"], [seal(frame, sas, *to) for frame, to in zip(frames, plan["packets"])])
    else:
        print(json.dumps([attempt(frame, sas) for frame in frames]))


main()
