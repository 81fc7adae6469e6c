#!/usr/bin/env python3
"""Makes the certificates of tests/certificates.rs with the Python package cryptography (that is, OpenSSL).

Keys are drawn anew with each run. The tests take it to be 2026-01-01 (1767225600).
"""

import datetime
import ipaddress
import pathlib
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

HERE = pathlib.Path(__file__).parent
DER = serialization.Encoding.DER


def year(number):
    return datetime.datetime(number, 7, 1, tzinfo=datetime.timezone.utc)


def name(common_name, organization="Example"):
    return x509.Name([
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ])


def usage(**bits):
    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{bit: bits.get(bit, False) for bit in names})


def with_sha1(file, certificate):
    """The same certificate, signed over SHA-1, which the package refuses."""
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    signed = certificate.tbs_certificate_bytes.replace(sha256, sha1)
    sign = ["openssl", "dgst", "-sha1", "-sign", HERE / "rsa2048.pk8", "-keyform", "DER"]
    signature = subprocess.run(sign, input=signed, capture_output=True, check=True).stdout
    whole = certificate.public_bytes(DER).replace(sha256, sha1)
    (HERE / f"{file}.crt").write_bytes(whole.replace(certificate.signature, signature))


class Authority:
    def __init__(self, file, common_name, issuer=None, key=None, path_length=None, key_usage=None, years=(2020, 2040),
                 algorithm=None):
        self.name = name(common_name)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.issuer = issuer or self
        key_usage = key_usage or usage(key_cert_sign=True, crl_sign=True)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(year(years[0]))
            .not_valid_after(year(years[1]))
            .add_extension(x509.BasicConstraints(True, path_length), True)
            .add_extension(key_usage, True)
        )
        self.certificate = builder.sign(self.issuer.key, algorithm or hashes.SHA256())
        (HERE / f"{file}.crt").write_bytes(self.certificate.public_bytes(DER))

    def issue(self, file, common_name, key, key_usage=usage(digital_signature=True), purposes=None, years=(2020, 2040),
              alternatives=(), algorithm=None, critical=None):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common_name))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(year(years[0]))
            .not_valid_after(year(years[1]))
        )
        if key_usage:
            builder = builder.add_extension(key_usage, True)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        if critical:
            builder = builder.add_extension(x509.UnrecognizedExtension(critical, b"\x05\x00"), True)
        certificate = builder.sign(self.key, algorithm or hashes.SHA256())
        (HERE / f"{file}.crt").write_bytes(certificate.public_bytes(DER))
        return certificate

    def revoke(self, file, certificates, years=(2025, 2030), key=None):
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(year(years[0]))
            .next_update(year(years[1]))
            .add_extension(x509.CRLNumber(1), False)
        )
        for certificate in certificates:
            revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(year(2025)).build())
        crl = builder.sign(key or self.key, hashes.SHA256())
        (HERE / f"{file}.crl").write_bytes(crl.public_bytes(DER))


def rsa_key(bits):
    # The package refuses to draw short keys; OpenSSL does not.
    pem = subprocess.run(["openssl", "genrsa", str(bits)], capture_output=True, check=True).stdout
    return serialization.load_pem_private_key(pem, None)


def write_key(file, key):
    pkcs8 = key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (HERE / f"{file}.pk8").write_bytes(pkcs8)


NAMES = [
    x509.DNSName("gw.example.org"),
    x509.RFC822Name("Gate@example.org"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
]

p256 = ec.generate_private_key(ec.SECP256R1())
rsa2048 = rsa_key(2048)
write_key("p256", p256)
write_key("rsa2048", rsa2048)

root = Authority("root", "Root")
other = Authority("other_root", "Other Root")
expired_root = Authority("expired_root", "Expired Root", years=(2000, 2020))
rsa_root = Authority("rsa_root", "RSA Root", key=rsa2048)
middle = Authority("middle", "Middle", root)
namesake = Authority("namesake", "Root")
silent = Authority("silent", "Silent", root, key_usage=usage(crl_sign=True))
expired_middle = Authority("expired_middle", "Expired Middle", root, years=(2020, 2025))
leafs_only = Authority("leafs_only", "Leafs Only", root, path_length=0)
too_deep = Authority("too_deep", "Too Deep", leafs_only)
weak_middle = Authority("weak_middle", "Weak Middle", root, key=rsa_key(768))

gateway = root.issue("gateway", "Gateway", p256, alternatives=NAMES)
root.issue("rsa", "RSA Gateway", rsa2048, alternatives=NAMES)
rsa_root.issue("rsa_by_rsa", "RSA Gateway", rsa2048, algorithm=hashes.SHA512())
with_sha1("sha1", rsa_root.issue("sha256", "Hash", rsa2048))
root.issue("p384", "P-384", ec.generate_private_key(ec.SECP384R1()), algorithm=hashes.SHA384())
root.issue("p521", "P-521", ec.generate_private_key(ec.SECP521R1()), algorithm=hashes.SHA512())
by_middle = middle.issue("by_middle", "By Middle", p256)
namesake.issue("by_namesake", "By Namesake", p256)
silent.issue("by_silent", "By Silent", p256)
expired_middle.issue("by_expired_middle", "By Expired Middle", p256)
leafs_only.issue("by_leafs_only", "By Leafs Only", p256)
too_deep.issue("by_too_deep", "By Too Deep", p256)
weak_middle.issue("by_weak_middle", "By Weak Middle", p256)
expired_root.issue("by_expired_root", "By Expired Root", p256)
revoked = root.issue("revoked", "Revoked", p256)
root.issue("expired", "Expired", p256, years=(2020, 2025))
root.issue("early", "Early", p256, years=(2027, 2030))
root.issue("no_usage", "No Usage", p256, key_usage=None)
root.issue("commitment", "Commitment", p256, key_usage=usage(content_commitment=True))
root.issue("encipherment", "Encipherment", rsa2048, key_usage=usage(key_encipherment=True))
root.issue("server", "Server", p256, purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
root.issue("ike", "IKE", p256, purposes=[ExtendedKeyUsageOID.SERVER_AUTH, ObjectIdentifier("1.3.6.1.5.5.7.3.17")])
root.issue("any_purpose", "Any Purpose", p256, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
root.issue("ike_intermediate", "IKE Intermediate", p256, purposes=[ObjectIdentifier("1.3.6.1.5.5.8.2.2")])
root.issue("rsa768", "RSA 768", rsa_key(768))
root.issue("rsa1024", "RSA 1024", rsa_key(1024))
root.issue("ed25519", "Ed25519", ed25519.Ed25519PrivateKey.generate())
root.issue("p224", "P-224", ec.generate_private_key(ec.SECP224R1()))
root.issue("critical", "Critical", p256, critical=ObjectIdentifier("1.2.3.4"))
root.issue("wildcard", "Wildcard", p256, alternatives=[x509.DNSName("*.example.org")])

root.revoke("root", [revoked])
root.revoke("root_empty", [])
root.revoke("root_expired", [], years=(2020, 2021))
root.revoke("root_forged", [], key=other.key)
root.revoke("root_middle", [middle.certificate])
middle.revoke("middle", [])
other.revoke("other", [revoked, gateway])

chain = [by_middle, middle.certificate]
(HERE / "chain.p7b").write_bytes(pkcs7.serialize_certificates(chain, DER))
