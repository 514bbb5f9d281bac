"""Certificates, judged by OpenSSL's strict verifier as the other end would judge them, and signing requests that must not pass."""

import ssl
import subprocess
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from apps.accounts.models import User
from apps.common.clock import now
from apps.credentials.csr import CsrRejected, read_csr
from apps.credentials.models import Certificate, CertificateAuthority
from apps.credentials.pki import AuthorityPem, Signer, new_authority
from apps.credentials.services import create_authority, issue_client_certificate, issue_server_certificate, portal_identity
from apps.tenants.models import Tenant

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> AuthorityPem:
    return new_authority(name="bay web", now=NOW, lifetime=100 * DAY)


@pytest.fixture(scope="module")
def signer(authority: AuthorityPem) -> Signer:
    return Signer(certificate_pem=authority.certificate_pem, key_pem=authority.key_pem)


def csr(
    key: CertificateIssuerPrivateKeyTypes,
    *extensions: x509.ExtensionType,
    name: str = "mallory",
    algorithm: hashes.HashAlgorithm | None = None,
) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    own = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    request = builder.sign(key, None if own else algorithm or hashes.SHA256())  # type: ignore[arg-type]  # one signature per kind of key
    return request.public_bytes(serialization.Encoding.PEM).decode()


def usage(*, signs: bool) -> x509.KeyUsage:
    rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, **dict.fromkeys(rest, False))


EC = ec.generate_private_key(ec.SECP256R1())


class TestCertificates:
    def test_the_authority_may_sign_leaves_and_nothing_below(self, authority: AuthorityPem) -> None:
        certificate = x509.load_pem_x509_certificate(authority.certificate_pem)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
        assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
        assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
        assert certificate.not_valid_after_utc == authority.expires_at == NOW + 100 * DAY

    def test_a_server_certificate_names_the_host_and_its_addresses_and_opens_no_other_host(self, signer: Signer) -> None:
        issued = signer.issue_server(hostname="web-1", dns_names=["bay.example.org"], addresses=["10.0.0.5", "fd00::5"], now=NOW)
        extensions = x509.load_pem_x509_certificate(issued.certificate_pem).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["web-1", "bay.example.org", "localhost"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "fd00::5", "127.0.0.1"]
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    def test_an_address_that_is_none_is_refused(self, signer: Signer) -> None:
        with pytest.raises(ValueError, match="not-an-address"):
            signer.issue_server(hostname="web-1", dns_names=[], addresses=["not-an-address"], now=NOW)

    def test_a_client_certificate_ends_with_its_authority_at_the_latest(self, signer: Signer, authority: AuthorityPem) -> None:
        issued = signer.issue_client(common_name="a@example.org", organisation="o", now=NOW, lifetime=1000 * DAY)
        assert issued.expires_at == authority.expires_at

    def test_no_two_serials_are_alike_and_all_are_positive_and_fit(self, signer: Signer) -> None:
        serials = {signer.issue_client(common_name="a", organisation="o", now=NOW, lifetime=DAY).serial for _ in range(50)}
        assert len(serials) == 50
        assert all(0 < int(serial, 16) < 2**159 for serial in serials)

    def test_a_very_long_address_still_gives_a_certificate(self, signer: Signer) -> None:
        assert signer.issue_client(common_name="a" * 200 + "@example.org", organisation="o", now=NOW, lifetime=DAY).serial

    def test_a_key_of_another_authority_is_refused(self, authority: AuthorityPem) -> None:
        other = new_authority(name="other", now=NOW, lifetime=DAY)
        with pytest.raises(ValueError, match="does not belong"):
            Signer(certificate_pem=authority.certificate_pem, key_pem=other.key_pem)

    @pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
    def test_openssl_in_strict_mode_accepts_each_for_its_own_purpose_only(self, purpose: str, tmp_path: Path) -> None:
        authority = new_authority(name="bay web", now=now(), lifetime=DAY)
        signer = Signer(certificate_pem=authority.certificate_pem, key_pem=authority.key_pem)
        client = signer.issue_client(common_name="a@example.org", organisation="o", now=now(), lifetime=DAY)
        server = signer.issue_server(hostname="web-1", dns_names=[], addresses=["10.0.0.5"], now=now())
        (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
        for name, issued in (("sslclient", client), ("sslserver", server)):
            (tmp_path / "leaf.pem").write_bytes(issued.certificate_pem)
            command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", "leaf.pem"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (done.returncode == 0) == (name == purpose), done.stderr

    def test_a_leaf_signed_by_a_leaf_is_not_accepted(self, tmp_path: Path) -> None:
        authority = new_authority(name="bay web", now=now(), lifetime=DAY)
        signer = Signer(certificate_pem=authority.certificate_pem, key_pem=authority.key_pem)
        leaf = signer.issue_client(common_name="a@example.org", organisation="o", now=now(), lifetime=DAY)
        assert leaf.key_pem is not None
        forged = Signer(certificate_pem=leaf.certificate_pem, key_pem=leaf.key_pem)
        below = forged.issue_client(common_name="b@example.org", organisation="o", now=now(), lifetime=DAY)
        for name, pem in (("ca.pem", authority.certificate_pem), ("chain.pem", leaf.certificate_pem), ("leaf.pem", below.certificate_pem)):
            (tmp_path / name).write_bytes(pem)
        command = ["openssl", "verify", "-CAfile", "ca.pem", "-untrusted", "chain.pem", "leaf.pem"]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0

    def test_everything_for_a_bay_of_three_hosts_takes_less_than_fifty_milliseconds(self) -> None:
        def once() -> float:
            start = time.perf_counter()
            pem = new_authority(name="bay web", now=NOW, lifetime=DAY)
            signer = Signer(certificate_pem=pem.certificate_pem, key_pem=pem.key_pem)
            for number in range(3):
                signer.issue_server(hostname=f"web-{number}", dns_names=[], addresses=[f"10.0.0.{number}"], now=NOW)
            signer.issue_client(common_name="portal", organisation="o", now=NOW, lifetime=DAY)
            signer.issue_client(common_name="a@example.org", organisation="o", now=NOW, lifetime=DAY)
            return time.perf_counter() - start

        assert min(once() for _ in range(5)) < 0.05


class TestSigningRequests:
    @pytest.mark.parametrize(
        "key",
        [
            EC,
            ec.generate_private_key(ec.SECP384R1()),
            ec.generate_private_key(ec.SECP521R1()),
            ed25519.Ed25519PrivateKey.generate(),
            rsa.generate_private_key(65537, 2048),
        ],
        ids=["P-256", "P-384", "P-521", "Ed25519", "RSA 2048"],
    )
    def test_good_keys_are_certified_under_our_name_not_theirs(self, key: CertificateIssuerPrivateKeyTypes, signer: Signer) -> None:
        public = read_csr(csr_pem=csr(key, usage(signs=False), x509.SubjectAlternativeName([x509.DNSName("evil.example")]), name="root"))
        issued = signer.issue_client(common_name="a@example.org", organisation="carina:admins", now=NOW, lifetime=DAY, public_key=public)
        certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
        assert issued.key_pem is None
        assert certificate.public_key() == key.public_key()
        assert certificate.subject.rfc4514_string() == "CN=a@example.org,O=carina:admins"
        assert "evil" not in str(certificate.extensions)
        assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "not a PEM signing request"),
            ("garbage", "not a PEM signing request"),
            ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "cannot be read"),
            ("-----BEGIN CERTIFICATE REQUEST-----\n", "cannot be read"),
            (csr(EC) + "x" * 16384, "larger than 16 KiB"),
            ("\ud800", "not a PEM signing request"),
            (csr(rsa.generate_private_key(65537, 1024)), "RSA key has 1024 bits"),  # noqa: S505 - that is the point
            (csr(ec.generate_private_key(ec.SECP256K1())), "curve secp256k1 is not accepted"),
            (csr(ec.generate_private_key(ec.SECP192R1())), "curve secp192r1 is not accepted"),
            (csr(dsa.generate_private_key(2048)), "kind of key is not accepted"),
            (csr(ed448.Ed448PrivateKey.generate()), "kind of key is not accepted"),
            (csr(EC, x509.BasicConstraints(ca=True, path_length=None)), "rights of a certificate authority"),
            (csr(EC, usage(signs=True)), "rights of a certificate authority"),
        ],
        ids=[
            "empty",
            "garbage",
            "damaged",
            "cut off",
            "huge",
            "no unicode",
            "RSA 1024",
            "secp256k1",
            "P-192",
            "DSA",
            "Ed448",
            "CA:TRUE",
            "keyCertSign",
        ],
    )
    def test_bad_requests_are_refused_with_one_sentence(self, text: str, sentence: str) -> None:
        with pytest.raises(CsrRejected, match=sentence) as refused:
            read_csr(csr_pem=text)
        assert refused.value.errors == {"csr": str(refused.value)}
        assert str(refused.value).count(". ") == 0, "one sentence"

    def test_a_request_signed_by_another_key_is_refused(self) -> None:
        der = bytearray(x509.load_pem_x509_csr(csr(EC).encode()).public_bytes(serialization.Encoding.DER))
        at = bytes(der).index(b"mallory")
        der[at : at + 7] = b"someone"
        forged = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
        with pytest.raises(CsrRejected, match="signature is not valid"):
            read_csr(csr_pem=forged)

    def test_a_private_key_sent_by_mistake_is_named_as_such(self) -> None:
        pem = EC.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        with pytest.raises(CsrRejected, match="contains a private key"):
            read_csr(csr_pem=csr(EC) + pem)

    @given(st.binary(max_size=200))
    def test_no_bytes_break_the_reader_otherwise_than_by_its_own_error(self, body: bytes) -> None:
        pem = ssl.DER_cert_to_PEM_cert(body).replace("CERTIFICATE", "CERTIFICATE REQUEST")
        with pytest.raises(CsrRejected):
            read_csr(csr_pem=pem)


@pytest.mark.django_db
class TestRecords:
    @pytest.fixture
    def alice(self) -> User:
        return User.objects.create_user("alice@example.com", "a long password")

    @pytest.fixture
    def bay_authority(self) -> CertificateAuthority:
        tenant = Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:8]}", name="T", created_at=now())
        return create_authority(tenant=tenant, name="bay web")

    def test_the_authority_key_is_stored_encrypted_only(self, bay_authority: CertificateAuthority) -> None:
        [row] = CertificateAuthority.objects.filter(pk=bay_authority.pk).values_list()
        assert "PRIVATE KEY" not in str(row)

    def test_a_client_certificate_is_recorded_and_its_key_is_not(self, bay_authority: CertificateAuthority, alice: User) -> None:
        issued = issue_client_certificate(authority=bay_authority, owner=alice, label="laptop")
        record = Certificate.objects.get(authority=bay_authority)
        certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
        assert (record.serial, record.owner, record.owner_label) == (f"{certificate.serial_number:x}", alice, "laptop")
        assert (record.purpose, record.expires_at) == ("client", certificate.not_valid_after_utc)
        assert abs(record.expires_at - now() - timedelta(days=90)) < timedelta(minutes=1)
        assert issued.key_pem is not None
        secret = issued.key_pem.decode().splitlines()[1]
        assert secret not in str(list(Certificate.objects.values_list()) + list(CertificateAuthority.objects.values_list()))

    def test_with_a_signing_request_no_key_comes_back(self, bay_authority: CertificateAuthority, alice: User) -> None:
        issued = issue_client_certificate(authority=bay_authority, owner=alice, csr_pem=csr(EC))
        assert issued.key_pem is None
        assert x509.load_pem_x509_certificate(issued.certificate_pem).public_key() == EC.public_key()

    def test_a_refused_request_records_nothing(self, bay_authority: CertificateAuthority, alice: User) -> None:
        with pytest.raises(CsrRejected):
            issue_client_certificate(authority=bay_authority, owner=alice, csr_pem="garbage")
        assert not Certificate.objects.exists()

    def test_an_empty_request_is_refused_and_not_taken_for_none(self, bay_authority: CertificateAuthority, alice: User) -> None:
        with pytest.raises(CsrRejected):
            issue_client_certificate(authority=bay_authority, owner=alice, csr_pem="")

    def test_a_host_has_one_record_however_often_it_is_made_anew(self, bay_authority: CertificateAuthority) -> None:
        for _ in range(3):
            issue_server_certificate(authority=bay_authority, hostname="web-1", addresses=["10.0.0.5"])
        assert Certificate.objects.filter(authority=bay_authority, purpose="server").count() == 1

    def test_the_record_stays_when_its_owner_goes(self, bay_authority: CertificateAuthority, alice: User) -> None:
        record = issue_client_certificate(authority=bay_authority, owner=alice).record
        alice.delete()
        record.refresh_from_db()
        assert (record.owner, record.owner_label) == (None, "alice@example.com")

    def test_a_serial_is_recorded_once_per_authority(self, bay_authority: CertificateAuthority, alice: User) -> None:
        record = issue_client_certificate(authority=bay_authority, owner=alice).record
        record.pk = uuid.uuid4()
        with pytest.raises(IntegrityError), transaction.atomic():
            record.save(force_insert=True)

    def test_the_portal_and_a_host_shake_hands_and_strangers_do_not(self, bay_authority: CertificateAuthority, tmp_path: Path) -> None:
        server = issue_server_certificate(authority=bay_authority, hostname="web-1", addresses=["10.0.0.5"])
        portal = portal_identity(authority=bay_authority)
        other = portal_identity(authority=create_authority(tenant=bay_authority.tenant, name="other bay"))
        for name, who in (("server", server), ("portal", portal), ("other", other)):
            (tmp_path / f"{name}.pem").write_bytes(who.certificate_pem + who.key_pem)
        assert portal.expires_at - now() <= timedelta(hours=1)
        assert handshake(tmp_path, ca=bay_authority.certificate, client="portal", name="10.0.0.5")
        assert not handshake(tmp_path, ca=bay_authority.certificate, client="other", name="10.0.0.5")
        assert not handshake(tmp_path, ca=bay_authority.certificate, client="portal", name="10.0.0.6")
        assert not handshake(tmp_path, ca=bay_authority.certificate, client="", name="10.0.0.5")


def handshake(folder: Path, *, ca: bytes, client: str, name: str) -> bool:
    """Speak mutual TLS in memory between a host and a client; whether both accept."""
    from_client, from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "server.pem")
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server_side, client_side):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=ca.decode())
    if client:
        client_side.load_cert_chain(folder / f"{client}.pem")
    ends = [
        client_side.wrap_bio(from_server, from_client, server_hostname=name),
        server_side.wrap_bio(from_client, from_server, server_side=True),
    ]
    try:
        for _ in range(4):
            for end in ends:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLError:
        return False
    return True
