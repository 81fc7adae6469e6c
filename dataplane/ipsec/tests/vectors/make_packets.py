"""Makes packets.json: whole ESP and AH packets of every algorithm, with and without ESN, by OpenSSL.

Written from the RFCs alone, with the Python package `cryptography` for the primitives.
"""
import hashlib
import hmac
import json

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC


def stream(label, length):
    """Bytes that look random and are the same each time."""
    return hashlib.shake_128(label.encode()).digest(length)


def cmac(key, data):
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


INTEGRITY = {  # name: key length, ICV length, function
    "hmac-md5-96": (16, 12, lambda k, d: hmac.digest(k, d, "md5")),
    "hmac-sha1-96": (20, 12, lambda k, d: hmac.digest(k, d, "sha1")),
    "hmac-sha2-256-128": (32, 16, lambda k, d: hmac.digest(k, d, "sha256")),
    "hmac-sha2-384-192": (48, 24, lambda k, d: hmac.digest(k, d, "sha384")),
    "hmac-sha2-512-256": (64, 32, lambda k, d: hmac.digest(k, d, "sha512")),
    "aes-cmac-96": (16, 12, cmac),
}


def encrypt(algorithm, mode, data):
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def ctr(keymat, iv, data):
    block = keymat[-4:] + iv + bytes([0, 0, 0, 1])  # RFC 3686 4
    return encrypt(algorithms.AES(keymat[:-4]), modes.CTR(block), data)


PLAIN = {  # name: keymat length, IV length, alignment, function
    "aes-cbc-128": (16, 16, 16, lambda k, iv, d: encrypt(algorithms.AES(k), modes.CBC(iv), d)),
    "aes-cbc-192": (24, 16, 16, lambda k, iv, d: encrypt(algorithms.AES(k), modes.CBC(iv), d)),
    "aes-cbc-256": (32, 16, 16, lambda k, iv, d: encrypt(algorithms.AES(k), modes.CBC(iv), d)),
    "aes-ctr-128": (20, 8, 4, ctr),
    "aes-ctr-192": (28, 8, 4, ctr),
    "aes-ctr-256": (36, 8, 4, ctr),
    "3des-cbc": (24, 8, 8, lambda k, iv, d: encrypt(TripleDES(k), modes.CBC(iv), d)),
    # Three equal keys make 3DES a single DES.
    "des-cbc": (8, 8, 8, lambda k, iv, d: encrypt(TripleDES(k * 3), modes.CBC(iv), d)),
    "null": (0, 0, 4, lambda k, iv, d: d),
}


def packets():
    lengths = [4, 16, 20, 44, 64, 92, 148, 508]
    count = 0
    for esn in (None, 0, 1, 0xFEDCBA98):
        high = b"" if esn is None else esn.to_bytes(4, "big")

        def esp(name, alignment, iv_length):
            nonlocal count
            count += 1
            length = -(-lengths[count % len(lengths)] // alignment) * alignment
            label = f"{name} {esn} {count}"
            header = stream("header " + label, 8)
            return label, header, stream("iv " + label, iv_length), stream("data " + label, length)

        def record(protocol, cipher, integrity, cipher_key, integrity_key, **fields):
            hexed = {k: v.hex() for k, v in fields.items()}
            return {"protocol": protocol, "cipher": cipher, "integrity": integrity, "esn": esn,
                    "cipher_key": cipher_key.hex(), "integrity_key": integrity_key.hex(), **hexed}

        for bits in (128, 192, 256):
            for icv in (16, 12, 8):
                name = f"aes-gcm-{icv}-{bits}"
                label, header, iv, data = esp(name, 4, 8)
                keymat = stream("key " + label, bits // 8 + 4)
                aad = header[:4] + high + header[4:]  # RFC 4106 5
                full = AESGCM(keymat[:-4]).encrypt(keymat[-4:] + iv, data, aad)
                sealed = header + iv + full[:len(full) - 16 + icv]
                yield record("esp", name, None, keymat, b"", clear=header + iv + data, sealed=sealed)

                name = f"aes-ccm-{icv}-{bits}"
                label, header, iv, data = esp(name, 4, 8)
                keymat = stream("key " + label, bits // 8 + 3)
                aad = header[:4] + high + header[4:]  # RFC 4309 5
                full = AESCCM(keymat[:-3], tag_length=icv).encrypt(keymat[-3:] + iv, data, aad)
                yield record("esp", name, None, keymat, b"", clear=header + iv + data,
                             sealed=header + iv + full)

            name = f"aes-gmac-{bits}"
            label, header, iv, data = esp(name, 4, 8)
            keymat = stream("key " + label, bits // 8 + 4)
            aad = header[:4] + high + header[4:] + iv + data  # RFC 4543 3.3
            tag = AESGCM(keymat[:-4]).encrypt(keymat[-4:] + iv, b"", aad)
            yield record("esp", name, None, keymat, b"", clear=header + iv + data,
                         sealed=header + iv + data + tag)

            # AH: the field of the ICV is IV and tag (RFC 4543 4).
            label, ah, iv, data = esp("ah " + name, 4, 8)
            ip = stream("ip " + label, 20 if count % 2 else 40)
            fixed = stream("fixed " + label, 12)
            keymat = stream("key " + label, bits // 8 + 4)
            tag = AESGCM(keymat[:-4]).encrypt(
                keymat[-4:] + iv, b"", ip + fixed + iv + bytes(16) + data + high)
            yield record("ah", None, name, b"", keymat, header=ip, clear=fixed + iv + bytes(16) + data,
                         sealed=fixed + iv + tag + data)

        name = "chacha20-poly1305"
        label, header, iv, data = esp(name, 4, 8)
        keymat = stream("key " + label, 36)
        aad = header[:4] + high + header[4:]  # RFC 7634 2.1
        full = ChaCha20Poly1305(keymat[:-4]).encrypt(keymat[-4:] + iv, data, aad)
        yield record("esp", name, None, keymat, b"", clear=header + iv + data,
                     sealed=header + iv + full)

        for integrity, (key_length, icv, mac) in INTEGRITY.items():
            for cipher, (keymat_length, iv_length, alignment, function) in PLAIN.items():
                label, header, iv, data = esp(cipher + integrity, alignment, iv_length)
                keymat = stream("key " + label, keymat_length)
                key = stream("integrity key " + label, key_length)
                body = header + iv + function(keymat, iv, data)
                sealed = body + mac(key, body + high)[:icv]  # RFC 4303 2.2.1
                yield record("esp", cipher, integrity, keymat, key, clear=header + iv + data,
                             sealed=sealed)

            label, ah, iv, data = esp("ah " + integrity, 4, 8)
            ip = stream("ip " + label, 20 if count % 2 else 40)
            fixed = stream("fixed " + label, 12)
            key = stream("integrity key " + label, key_length)
            tag = mac(key, ip + fixed + bytes(icv) + data + high)[:icv]  # RFC 4302 2.5.1, 3.3.3
            yield record("ah", None, integrity, b"", key, header=ip, clear=fixed + bytes(icv) + data,
                         sealed=fixed + tag + data)


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(p) for p in packets())
    with open("packets.json", "w") as file:
        file.write('{"source": "make_packets.py", "tests": [\n' + lines + "\n]}\n")
