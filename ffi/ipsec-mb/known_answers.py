"""Prints src/known_answer/answers.rs: what OpenSSL 3 computes for the start-up check.

Needs the Python package `cryptography`. Written from the RFCs; inputs and fold as in src/known_answer/mod.rs.
    python3 known_answers.py > src/known_answer/answers.rs
"""
import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC

LANES = 20


def stream(lane, number, length):
    return bytes((lane * 31 + number * 59 + i * 7 + (i >> 8) * 3 + 1) & 255 for i in range(length))


def length(lane, unit):
    return unit * (1 + (lane * lane * 7 + lane * 13) % 97)


def fold(data):
    answer = 0
    for start in range(0, len(data), 16):
        block = int.from_bytes(data[start:start + 16].ljust(16, b"\0"), "big")
        answer = (answer << 1 | answer >> 127) & (1 << 128) - 1 ^ block
    return answer


def encrypt(algorithm, mode, data):
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def cbc(algorithm, iv_length):
    return lambda key, iv, aad, data: encrypt(algorithm(key), modes.CBC(iv[:iv_length]), data)


def ctr(key, iv, aad, data):
    return encrypt(algorithms.AES(key), modes.CTR(iv[:12] + bytes([0, 0, 0, 1])), data)


def xcbc(key, data):  # RFC 3566 4
    def block(key, data):
        return encrypt(algorithms.AES(key), modes.ECB(), data)

    k1, k2, k3 = (block(key, bytes([n] * 16)) for n in (1, 2, 3))
    *head, last = [data[i:i + 16] for i in range(0, len(data), 16)]
    whole = len(last) == 16
    last = last if whole else (last + b"\x80").ljust(16, b"\0")
    last = bytes(a ^ b for a, b in zip(last, k2 if whole else k3))
    return encrypt(algorithms.AES(k1), modes.CBC(bytes(16)), b"".join(head) + last)[-16:]


def cmac(key, data):
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def mac(function, cut):
    return lambda key, iv, aad, data: function(key, data)[:cut]


def digest(name):
    return lambda key, data: hmac.digest(key, data, name)


def des(key):  # Three equal keys make 3DES a single DES.
    return TripleDES(key * 3)


def gcm(key, iv, aad, data):
    return AESGCM(key).encrypt(iv[:12], data, aad)


def gmac(key, iv, aad, data):
    return AESGCM(key).encrypt(iv[:12], b"", aad + data)


def ccm(key, iv, aad, data):
    return AESCCM(key, tag_length=16).encrypt(iv[:11], data, aad)


def chacha(key, iv, aad, data):
    return ChaCha20Poly1305(key).encrypt(iv[:12], data, aad)


ALGORITHMS = [  # name, key length, unit of length, function
    *((f"GCM_{n * 8}", n, 13, gcm) for n in (16, 24, 32)),
    *((f"GMAC_{n * 8}", n, 13, gmac) for n in (16, 24, 32)),
    *((f"CCM_{n * 8}", n, 13, ccm) for n in (16, 32)),
    ("CHACHA20_POLY1305", 32, 13, chacha),
    *((f"CBC_{n * 8}", n, 16, cbc(algorithms.AES, 16)) for n in (16, 24, 32)),
    *((f"CTR_{n * 8}", n, 13, ctr) for n in (16, 24, 32)),
    ("DES_CBC", 8, 8, cbc(des, 8)),
    ("TRIPLE_DES_CBC", 24, 8, cbc(TripleDES, 8)),
    ("HMAC_MD5", 16, 13, mac(digest("md5"), 12)),
    ("HMAC_SHA1", 20, 13, mac(digest("sha1"), 12)),
    ("HMAC_SHA256", 32, 13, mac(digest("sha256"), 16)),
    ("HMAC_SHA384", 48, 13, mac(digest("sha384"), 24)),
    ("HMAC_SHA512", 64, 13, mac(digest("sha512"), 32)),
    ("XCBC", 16, 13, mac(xcbc, 12)),
    ("CMAC", 16, 13, mac(cmac, 12)),
]

print("//! What OpenSSL 3 computes: made by `known_answers.py`.")
print(f"\nuse super::LANES;\n\ntype Answers = [u128; LANES];")
for name, key_length, unit, function in ALGORITHMS:
    print(f"\n#[rustfmt::skip]\npub(super) const {name}: Answers = [")
    for lane in range(LANES):
        key, iv = stream(lane, 0, key_length), stream(lane, 1, 16)
        aad, data = stream(lane, 2, 8 + 4 * (lane % 2)), stream(lane, 3, length(lane, unit))
        end = "\n" if lane % 2 else ""
        start = " " if lane % 2 else "    "
        print(f"{start}{fold(function(key, iv, aad, data)):#034x},", end=end)
    print("];")
