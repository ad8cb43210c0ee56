"""The tests' certificate authority, and the certificates that it signs."""

import datetime as dt
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization


def write_client(authority: trustme.CA, folder: Path, user: str) -> tuple[Path, Path]:
    """Write the certificate and the key of a database user."""
    issued = authority.issue_cert(f"{user}@example.com", common_name=user)
    certificate, key = folder / f"{user}.crt", folder / f"{user}.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    return certificate, key


def encrypt(key: Path, password: str) -> None:
    """Put the password on a key in PEM."""
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        )
    )


def revocation_list(authority: trustme.CA, revoked: list[trustme.LeafCert]) -> bytes:
    """Make the authority's list of revoked certificates, in PEM."""
    signer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=signer.subject,
        last_update=now - dt.timedelta(days=1),
        next_update=now + dt.timedelta(days=1),
    )
    for leaf in revoked:
        certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
        entry = x509.RevokedCertificateBuilder(
            serial_number=certificate.serial_number, revocation_date=now
        )
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
