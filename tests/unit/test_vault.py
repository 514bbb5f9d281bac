import base64
import os
import re
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from apps.common.clock import now
from apps.credentials import vault
from apps.credentials.models import CertificateAuthority
from apps.credentials.rotation import registered_secrets
from apps.credentials.services import authority_context, create_authority, portal_identity
from apps.credentials.vault import VaultError
from apps.tenants.models import Tenant

OLD, NEW = ("old", os.urandom(32)), ("new", os.urandom(32))
Settings = pytest.FixtureRequest


@pytest.fixture(autouse=True)
def ring(settings: pytest.FixtureRequest) -> None:
    use(settings, OLD)


def use(settings: object, *keys: tuple[str, bytes]) -> None:
    settings.VAULT_KEYS = list(keys)  # type: ignore[attr-defined]  # pytest-django's settings take any name


def damaged(token: str, *, at: int) -> str:
    head, _, body = token.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(body))
    raw[at] ^= 1
    return f"{head}.{base64.urlsafe_b64encode(bytes(raw)).decode()}"


def test_what_is_encrypted_comes_back_and_is_not_in_the_token() -> None:
    token = vault.encrypt(plaintext=b"a very secret key", context="bay-ca:1")
    assert vault.decrypt(token=token, context="bay-ca:1") == b"a very secret key"
    assert b"secret" not in base64.urlsafe_b64decode(token.rpartition(".")[2])


def test_the_same_secret_looks_different_each_time() -> None:
    assert vault.encrypt(plaintext=b"x", context="c") != vault.encrypt(plaintext=b"x", context="c")


def test_a_token_moved_to_another_row_does_not_open() -> None:
    token = vault.encrypt(plaintext=b"x", context="bay-ca:1")
    with pytest.raises(VaultError, match="belongs elsewhere"):
        vault.decrypt(token=token, context="bay-ca:2")


@pytest.mark.parametrize("at", [0, 11, 12, 15, -1])
def test_a_token_with_one_bit_changed_does_not_open(at: int) -> None:
    with pytest.raises(VaultError):
        vault.decrypt(token=damaged(vault.encrypt(plaintext=b"secret", context="c"), at=at), context="c")


@given(st.text(max_size=60))
def test_no_text_at_all_breaks_the_vault_otherwise_than_by_its_own_error(token: str) -> None:
    with pytest.raises(VaultError):
        vault.decrypt(token=token, context="c")


@given(st.binary(max_size=40))
def test_nor_does_any_body_under_a_known_key(body: bytes) -> None:
    with pytest.raises(VaultError):
        vault.decrypt(token=f"v1.old.{base64.urlsafe_b64encode(body).decode()}", context="c")


def test_the_first_key_encrypts_and_every_key_decrypts(settings: Settings) -> None:
    before = vault.encrypt(plaintext=b"x", context="c")
    use(settings, NEW, OLD)
    assert vault.decrypt(token=before, context="c") == b"x"
    assert vault.needs_rotation(token=before)
    assert not vault.needs_rotation(token=vault.encrypt(plaintext=b"x", context="c"))


def test_a_missing_key_is_named_and_the_secret_is_not(settings: Settings) -> None:
    token = vault.encrypt(plaintext=b"hush", context="c")
    use(settings, NEW)
    with pytest.raises(VaultError, match="'old', which CARINA_VAULT_KEYS lacks") as refused:
        vault.decrypt(token=token, context="c")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("keys", [[], [("short", b"x" * 16)], [("a.b", b"x" * 32)], [("", b"x" * 32)]])
def test_a_ring_that_cannot_be_used_says_so(settings: Settings, keys: list[tuple[str, bytes]]) -> None:
    use(settings, *keys)
    with pytest.raises(VaultError, match="CARINA_VAULT_KEYS"):
        vault.encrypt(plaintext=b"x", context="c")


@pytest.mark.django_db
class TestRotation:
    @pytest.fixture
    def authority(self) -> CertificateAuthority:
        tenant = Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:8]}", name="T", created_at=now())
        return create_authority(tenant=tenant, name="bay web")

    def test_every_stored_secret_moves_to_the_new_key_and_the_old_one_can_go(
        self, authority: CertificateAuthority, settings: Settings
    ) -> None:
        use(settings, NEW, OLD)
        out = StringIO()
        call_command("rotate_keys", stdout=out)
        assert re.search(r"credentials.CertificateAuthority.key_encrypted: 1 re-encrypted, 0 already", out.getvalue())
        use(settings, NEW)
        authority.refresh_from_db()
        assert portal_identity(authority=authority).key_pem.startswith(b"-----BEGIN PRIVATE KEY")

    def test_rotating_twice_changes_nothing_more(self, authority: CertificateAuthority, settings: Settings) -> None:
        use(settings, NEW, OLD)
        call_command("rotate_keys", stdout=StringIO())
        authority.refresh_from_db()
        token, out = authority.key_encrypted, StringIO()
        call_command("rotate_keys", stdout=out)
        authority.refresh_from_db()
        assert authority.key_encrypted == token
        assert "0 re-encrypted, 1 already" in out.getvalue()

    def test_a_secret_that_does_not_open_is_reported_and_kept_and_the_rest_go_on(
        self, authority: CertificateAuthority, settings: Settings
    ) -> None:
        lost = create_authority(tenant=authority.tenant, name="lost")
        token = damaged(lost.key_encrypted, at=-1)
        CertificateAuthority.objects.filter(pk=lost.pk).update(key_encrypted=token)
        use(settings, NEW, OLD)
        errors = StringIO()
        with pytest.raises(CommandError, match="do not remove old keys yet"):
            call_command("rotate_keys", stdout=StringIO(), stderr=errors)
        assert authority_context(authority_id=lost.id) in errors.getvalue()
        authority.refresh_from_db()
        lost.refresh_from_db()
        assert lost.key_encrypted == token
        assert not vault.needs_rotation(token=authority.key_encrypted)

    def test_secrets_of_clouds_are_registered_too(self) -> None:
        assert {secret.model for secret in registered_secrets()} >= {"credentials.CertificateAuthority", "hosts.Cloud"}
