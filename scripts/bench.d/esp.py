"""ESP in tunnel mode over IPv4 (RFC 4303), with the ciphers of the `cryptography` package: seals what the gateways
open, and opens what they sealed. Neither gateway's code is used."""

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from make_pcap import checksum

IPV4_IN_IP = 4  # next header
ESP = 50
HEADER = 20  # IPv4 without options


class Refused(Exception):
    """The packet is not what it should be."""


@dataclass(frozen=True)
class Suite:
    """An encryption, with an integrity algorithm where it has none of its own."""

    name: str
    encryption: str  # as the policy file spells it
    integrity: str
    peer: str  # as ipsec-secgw's configuration spells it, with the keys left open
    key_bytes: int
    salt_bytes: int
    auth_bytes: int = 0
    icv_bytes: int = 16
    hash: str = ""

    @property
    def combined(self):
        return not self.hash

    @property
    def iv_bytes(self):
        """RFC 4106 3.1, RFC 7634 2; RFC 3602 3."""
        return 8 if self.combined else 16

    @property
    def align(self):
        """Encrypted bytes are a multiple of this (RFC 4303 2.4)."""
        return 4 if self.combined else 16


def _gcm(bits):
    peer = f"aead_algo aes-{bits}-gcm aead_key {{key}}"
    return Suite(f"aes{bits}-gcm", f"aes{bits}-gcm16", "", peer, bits // 8, 4)


def _cbc(bits, name, integrity, peer, auth_bytes, icv_bytes, digest):
    peer = f"cipher_algo aes-{bits}-cbc cipher_key {{key}} auth_algo {peer} auth_key {{auth}}"
    return Suite(
        f"aes{bits}-cbc-{name}", f"aes{bits}-cbc", integrity, peer, bits // 8, 0, auth_bytes, icv_bytes, digest
    )


SUITES = {
    suite.name: suite
    for suite in (
        _gcm(128),
        _gcm(256),
        _cbc(128, "sha1", "hmac-sha1-96", "sha1-hmac", 20, 12, "sha1"),
        _cbc(256, "sha256", "hmac-sha2-256-128", "sha256-hmac", 32, 16, "sha256"),
        Suite(
            "chacha20-poly1305",
            "chacha20-poly1305",
            "",
            "aead_algo chacha20-poly1305 aead_key {key}",
            32,
            4,
        ),
    )
}


class Sa:
    """One security association: its keys, and its next sequence number."""

    def __init__(self, suite, spi, source, destination, rng):
        self.suite, self.spi = suite, spi
        self.source, self.destination = source, destination
        self.key = rng.randbytes(suite.key_bytes + suite.salt_bytes)
        self.auth = rng.randbytes(suite.auth_bytes)
        self.sequence = 0
        secret, self.salt = self.key[: suite.key_bytes], self.key[suite.key_bytes :]
        if suite.combined:
            self.aead = ChaCha20Poly1305(secret) if suite.name.startswith("chacha") else AESGCM(secret)
        else:
            self.cipher = algorithms.AES(secret)

    def seal(self, inner):
        """The outer IPv4 packet around `inner`."""
        suite = self.suite
        self.sequence += 1
        pad = -(len(inner) + 2) % suite.align
        plain = inner + bytes(range(1, pad + 1)) + bytes((pad, IPV4_IN_IP))
        header = struct.pack("!II", self.spi, self.sequence)
        if suite.combined:
            iv = struct.pack("!Q", self.sequence)
            esp = header + iv + self.aead.encrypt(self.salt + iv, plain, header)
        else:
            iv = os.urandom(suite.iv_bytes)
            encryptor = Cipher(self.cipher, modes.CBC(iv)).encryptor()
            esp = header + iv + encryptor.update(plain) + encryptor.finalize()
            esp += self._icv(esp)
        return self._outer(len(esp)) + esp

    def open(self, packet):
        """The packet inside, or Refused."""
        suite = self.suite
        version, total, proto = packet[0], int.from_bytes(packet[2:4], "big"), packet[9]
        if version != 0x45 or proto != ESP or not HEADER < total <= len(packet):
            raise Refused("the outer header is not that of ESP over IPv4")
        if checksum(packet[:HEADER]) or packet[12:20] != self.source.packed + self.destination.packed:
            raise Refused("outer checksum or addresses")
        esp = packet[HEADER:total]
        start = 8 + suite.iv_bytes
        if len(esp) < start + suite.icv_bytes:
            raise Refused("too short")
        header, iv, sealed, icv = esp[:8], esp[8:start], esp[start : -suite.icv_bytes], esp[-suite.icv_bytes :]
        plain = self._decrypt(header, iv, sealed, icv)
        pad, next_header = plain[-2], plain[-1]
        if next_header != IPV4_IN_IP or pad + 2 > len(plain):
            raise Refused("trailer")
        if plain[len(plain) - 2 - pad : -2] != bytes(range(1, pad + 1)):
            raise Refused("padding is not 1, 2, 3 (RFC 4303 2.4)")
        return plain[: len(plain) - 2 - pad]

    def _decrypt(self, header, iv, sealed, icv):
        if self.suite.combined:
            try:
                return self.aead.decrypt(self.salt + iv, sealed + icv, header)
            except InvalidTag:
                raise Refused("integrity check value") from None
        if not hmac.compare_digest(self._icv(header + iv + sealed), icv):
            raise Refused("integrity check value")
        decryptor = Cipher(self.cipher, modes.CBC(iv)).decryptor()
        return decryptor.update(sealed) + decryptor.finalize()

    def _icv(self, data):
        return hmac.digest(self.auth, data, getattr(hashlib, self.suite.hash))[: self.suite.icv_bytes]

    def _outer(self, length):
        header = struct.pack("!BBHHHBBH", 0x45, 0, HEADER + length, self.sequence & 0xFFFF, 0x4000, 64, ESP, 0)
        header += self.source.packed + self.destination.packed
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:]
