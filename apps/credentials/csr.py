"""Certificate signing requests from people: what is accepted, and one clear sentence for what is not.

Only the public key is taken from a request. Subject, alternative names and extensions are ours, so that nobody names himself another.
"""

import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from apps.common.errors import InvalidInput

SIZE_LIMIT = 16 * 1024
"""Bytes; a request for RSA 8192 with many names stays under 8 KiB."""

RSA_BITS = (2048, 8192)
"""The least that is safe, and the most a host can check without being kept busy by it."""

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_PEM = re.compile(r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----")


class CsrRejected(InvalidInput):
    """A certificate signing request that is not signed; `str()` is one sentence for whoever sent it."""

    code = "csr_rejected"
    title = "Signing request refused"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, errors={"csr": sentence})


def read_csr(*, csr_pem: str) -> CertificatePublicKeyTypes:
    """Return the public key of a PEM signing request whose sender proved to hold the private key. Raises CsrRejected."""
    if len(csr_pem.encode(errors="replace")) > SIZE_LIMIT:
        raise CsrRejected("The signing request is larger than 16 KiB.")
    if "PRIVATE KEY-----" in csr_pem:
        raise CsrRejected("This contains a private key: send the signing request alone, and treat that key as known to others.")
    if not _PEM.search(csr_pem):
        raise CsrRejected("This is not a PEM signing request: it must start with -----BEGIN CERTIFICATE REQUEST-----.")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        extensions = request.extensions
    except UnsupportedAlgorithm:
        raise CsrRejected(
            "The signing request's key type is not supported: use EC P-256, P-384 or P-521, Ed25519, or RSA from 2048 bits."
        ) from None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise CsrRejected("The signing request cannot be read: it is damaged or not a PKCS #10 request.") from None
    _check_key(key)
    _check_extensions(extensions)
    _check_signature(request)
    return key


def _check_key(key: CertificatePublicKeyTypes) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        least, most = RSA_BITS
        if not least <= key.key_size <= most:
            raise CsrRejected(f"The RSA key has {key.key_size} bits: use at least {least} and at most {most}, or EC P-256.")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES):
            raise CsrRejected(f"The curve {key.curve.name} is not accepted: use P-256, P-384 or P-521.")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise CsrRejected("This kind of key is not accepted: use EC P-256, P-384 or P-521, Ed25519, or RSA from 2048 bits.")


def _check_extensions(extensions: x509.Extensions) -> None:
    for extension in extensions:
        value = extension.value
        asks = (isinstance(value, x509.BasicConstraints) and value.ca) or (
            isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign)
        )
        if asks:
            raise CsrRejected(
                "The signing request asks for the rights of a certificate authority: leave out CA:TRUE, keyCertSign and cRLSign."
            )


def _check_signature(request: x509.CertificateSigningRequest) -> None:
    try:
        proved = request.is_signature_valid
    except (UnsupportedAlgorithm, InvalidSignature, ValueError):
        proved = False
    if not proved:
        raise CsrRejected("The signing request's signature is not valid: make it again with the private key it is for.")
