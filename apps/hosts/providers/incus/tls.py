"""The TLS side of a remote Incus: our client certificate, and the server's own certificate pinned."""

import os
import ssl

from apps.hosts.contracts import CloudCredentialsRejected


def client_context(*, certificate: str, key: str, server_certificate: str) -> ssl.SSLContext:
    """Return a context that presents `certificate` and trusts only `server_certificate` (all PEM texts).

    Incus' own certificate is self-signed and names whatever the machine was called once, so the certificate itself is pinned and the
    name in it does not matter. Without one to pin, the server must have a certificate of a public authority for its name.
    Raises CloudCredentialsRejected when a PEM text is unusable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if server_certificate.strip():
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(cadata=server_certificate)
        else:
            context.load_default_certs()
        # OpenSSL's binding reads keys from files only; an anonymous memory file never reaches a disk.
        with os.fdopen(os.memfd_create("client"), "wb") as file:
            file.write(f"{certificate.strip()}\n{key.strip()}\n".encode())
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    except (ssl.SSLError, ValueError) as error:
        raise CloudCredentialsRejected(
            f"The certificate or key for the remote Incus cannot be read: give PEM texts that belong together ({error})."
        ) from error
    return context
