#!/usr/bin/env python3
"""Prints vectors.txt: packets and frames as scapy 2.8.0 writes them, one "name hex" a line."""
from scapy.all import *


def show(name, packet):
    print(name, bytes(packet).hex())


echo = dict(id=7, seq=9)
v4 = dict(id=0x1234, tos=0x2A)
v6 = dict(tc=0x17, fl=0xABCDE)
text = b"abcdefghi"
show("echo-request-4", IP(src="192.0.2.1", dst="192.0.2.2", ttl=33, **v4) / ICMP(**echo) / text)
show("echo-reply-4", IP(src="192.0.2.2", dst="192.0.2.1", ttl=64, **v4) / ICMP(type=0, **echo) / text)
show("echo-request-6", IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=12, **v6)
     / ICMPv6EchoRequest(data=text, **echo))
show("echo-reply-6", IPv6(src="2001:db8::2", dst="2001:db8::1", hlim=64, **v6)
     / ICMPv6EchoReply(data=text, **echo))

udp = UDP(sport=5, dport=6) / b"payload!"
about4 = IP(src="192.0.2.1", dst="198.51.100.2", id=0x1234, ttl=1, flags="DF") / udp
about6 = IPv6(src="2001:db8::1", dst="2001:db8:1::2", hlim=1) / udp
show("offending-4", about4)
show("offending-6", about6)
for name, kind, code, more in [
    ("time", 11, 0, {}), ("reassembly-time", 11, 1, {}), ("too-big", 3, 4, dict(nexthopmtu=1400)),
    ("prohibited", 3, 13, {}), ("no-route", 3, 0, {}), ("host", 3, 1, {}), ("port", 3, 3, {}),
]:
    ip = IP(src="192.0.2.254", dst="192.0.2.1", id=0, flags="DF", ttl=64, tos=0xC0)
    show(f"error-4-{name}", ip / ICMP(type=kind, code=code, **more) / about4)
for name, message in [
    ("time", ICMPv6TimeExceeded(code=0)), ("reassembly-time", ICMPv6TimeExceeded(code=1)),
    ("too-big", ICMPv6PacketTooBig(mtu=1400)), ("prohibited", ICMPv6DestUnreach(code=1)),
    ("no-route", ICMPv6DestUnreach(code=0)), ("host", ICMPv6DestUnreach(code=3)),
    ("port", ICMPv6DestUnreach(code=4)),
]:
    ip = IPv6(src="2001:db8::fe", dst="2001:db8::1", hlim=64, tc=0xC0)
    show(f"error-6-{name}", ip / message / about6)

us, them = "02:00:00:00:00:01", "02:00:5e:10:20:30"
nobody, everybody = "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"
show("arp-request-from-them", Ether(src=them, dst=everybody)
     / ARP(op=1, hwsrc=them, psrc="192.0.2.9", hwdst=nobody, pdst="192.0.2.1"))
show("arp-reply-from-us", Ether(src=us, dst=them)
     / ARP(op=2, hwsrc=us, psrc="192.0.2.1", hwdst=them, pdst="192.0.2.9") / Padding(bytes(18)))
show("arp-request-from-us", Ether(src=us, dst=everybody)
     / ARP(op=1, hwsrc=us, psrc="192.0.2.1", hwdst=nobody, pdst="192.0.2.9") / Padding(bytes(18)))
show("arp-reply-from-them", Ether(src=them, dst=us)
     / ARP(op=2, hwsrc=them, psrc="192.0.2.9", hwdst=us, pdst="192.0.2.1"))
show("arp-announcement-from-us", Ether(src=us, dst=everybody)
     / ARP(op=1, hwsrc=us, psrc="192.0.2.1", hwdst=nobody, pdst="192.0.2.1") / Padding(bytes(18)))


def nd(source, destination, src, dst, message):
    return Ether(src=source, dst=destination) / IPv6(src=src, dst=dst, hlim=255) / message


show("ns-from-them", nd(them, "33:33:ff:00:00:01", "2001:db8::9", "ff02::1:ff00:1",
     ICMPv6ND_NS(tgt="2001:db8::1") / ICMPv6NDOptSrcLLAddr(lladdr=them)))
show("na-from-us", nd(us, them, "2001:db8::1", "2001:db8::9",
     ICMPv6ND_NA(tgt="2001:db8::1", R=1, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=us)))
show("dad-from-them", nd(them, "33:33:ff:00:00:01", "::", "ff02::1:ff00:1",
     ICMPv6ND_NS(tgt="2001:db8::1")))
show("na-to-all-from-us", nd(us, "33:33:00:00:00:01", "2001:db8::1", "ff02::1",
     ICMPv6ND_NA(tgt="2001:db8::1", R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=us)))
show("na-to-all-link-local", nd(us, "33:33:00:00:00:01", "fe80::ff:fe00:1", "ff02::1",
     ICMPv6ND_NA(tgt="fe80::ff:fe00:1", R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=us)))
show("ns-from-us", nd(us, "33:33:ff:00:00:09", "2001:db8::1", "ff02::1:ff00:9",
     ICMPv6ND_NS(tgt="2001:db8::9") / ICMPv6NDOptSrcLLAddr(lladdr=us)))
show("na-from-them", nd(them, us, "2001:db8::9", "2001:db8::1",
     ICMPv6ND_NA(tgt="2001:db8::9", R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=them)))
show("ns-probe-from-us", nd(us, them, "2001:db8::1", "2001:db8::9",
     ICMPv6ND_NS(tgt="2001:db8::9") / ICMPv6NDOptSrcLLAddr(lladdr=us)))

esp = bytes.fromhex("0000100100000007") + bytes(range(24))
outer4 = dict(src="203.0.113.1", dst="203.0.113.2", id=0xBEEF, ttl=64)
outer6 = dict(src="2001:db8:a::1", dst="2001:db8:b::2", hlim=64, tc=0xBA)
show("outer-4", IP(tos=0xBA, flags="DF", proto=50, **outer4) / esp)
show("outer-4-udp", IP(tos=0x02, **outer4) / UDP(sport=4500, dport=4501, chksum=0) / esp)
show("outer-6", IPv6(nh=51, **outer6) / esp)
show("outer-6-udp", IPv6(**outer6) / UDP(sport=4500, dport=4501) / esp)

data = bytes(i * 7 & 255 for i in range(3000))
ip = IP(src="192.0.2.1", dst="192.0.2.2", id=0x4321, ttl=9, proto=17) / Raw(data[:100])
show("whole-4", ip)
for i, part in enumerate(fragment(ip, fragsize=40)):
    show(f"fragment-4-{i}", part)
ip = IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=9, tc=5)
hop_by_hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
rest = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UDP(sport=1, dport=2) / Raw(data)
show("whole-6", ip / hop_by_hop / rest)
for i, part in enumerate(fragment6(ip / hop_by_hop / IPv6ExtHdrFragment(id=0xDEADBEEF) / rest, 1280)):
    show(f"fragment-6-{i}", part)
udp = UDP(sport=1, dport=2) / b"atomic!!"
show("atomic-6", ip / IPv6ExtHdrFragment(id=7) / udp)
show("not-atomic-6", ip / udp)
