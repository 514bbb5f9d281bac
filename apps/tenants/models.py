from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from apps.accounts.models import User
from apps.common.models import Identified
from apps.tenants.roles import PERMISSIONS, Permission, Role


def default_max_bays() -> int:
    """Return the limit of bays a new tenant starts with."""
    return settings.DEFAULT_MAX_BAYS


def default_max_hosts() -> int:
    """Return the limit of hosts a new tenant starts with."""
    return settings.DEFAULT_MAX_HOSTS


def default_max_vcpus() -> int:
    """Return the limit of CPUs a new tenant starts with."""
    return settings.DEFAULT_MAX_VCPUS


def default_max_memory_mib() -> int:
    """Return the limit of memory a new tenant starts with."""
    return settings.DEFAULT_MAX_MEMORY_MIB


def default_max_disk_gib() -> int:
    """Return the limit of disk a new tenant starts with."""
    return settings.DEFAULT_MAX_DISK_GIB


class Tenant(Identified):
    """The organisation that owns bays, pays, and has members with roles. `slug` is its name in URLs.

    A deleted one keeps its row for what refers to it; its slug is free again. Limits are in hosts, CPUs, MiB of memory and GiB of disk.
    """

    slug = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    personal = models.BooleanField(default=False)
    max_bays = models.PositiveIntegerField(default=default_max_bays)
    max_hosts = models.PositiveIntegerField(default=default_max_hosts)
    max_vcpus = models.PositiveIntegerField(default=default_max_vcpus)
    max_memory_mib = models.PositiveBigIntegerField(default=default_max_memory_mib)
    max_disk_gib = models.PositiveBigIntegerField(default=default_max_disk_gib)
    mfa_required = models.BooleanField(default=False)
    max_token_days = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)
    members: "models.ManyToManyField[User, Membership]" = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="tenants"
    )

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(Lower("slug"), name="one_tenant_per_slug")]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user in a tenant, with a role."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=[(role, role.capitalize()) for role in Role])
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_per_user")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.tenant_id}"

    @property
    def permissions(self) -> frozenset[Permission]:
        """What this role allows."""
        return PERMISSIONS[Role(self.role)]


class Invitation(Identified):
    """An offer to an address to become a member with a role. The mail's secret is stored as a keyed hash, like a token's."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=[(role, role.capitalize()) for role in Role])
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                "tenant", Lower("email"), condition=Q(accepted_at=None, revoked_at=None), name="one_open_invitation_per_address"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"


class ServiceAccount(Identified):
    """A program's account in one tenant. Its user never signs in and has one membership, with the account's role."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="service_accounts")
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="service_account")
    name = models.CharField(max_length=40)
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], condition=Q(deleted_at=None), name="one_service_account_per_name")
        ]

    def __str__(self) -> str:
        return self.name


class QuotaRequest(Identified):
    """A tenant's wish for other limits. `wanted` are the limits asked for, by the names of the tenant's columns."""

    class State(models.TextChoices):
        """What became of it."""

        OPEN = "open"
        APPROVED = "approved"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="quota_requests")
    wanted = models.JSONField()
    reason = models.TextField(blank=True)
    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    requested_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    decided_by = models.CharField(max_length=254, blank=True)
    decided_at = models.DateTimeField(null=True)
    answer = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant"], condition=Q(state="open"), name="one_open_quota_request")]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.state}"


class Hold(models.Model):
    """Why a tenant may not grow: no new bays and no further hosts while it stands; what runs goes on. Put and lifted by layers above.

    `code` names the cause (each stands once), `sentence` says it to people, with what to do about it.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="holds")
    code = models.CharField(max_length=60)
    sentence = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "code"], name="one_hold_per_cause")]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.code}"


class ApiToken(Identified):
    """A bearer token, or an application credential, of one user for one tenant.

    Only a hash of it, keyed with the pepper `pepper`, is stored, so a copy of the database opens nothing. Its permissions are the
    intersection of its scopes and what the user's role allows at the time of the request.
    """

    class Kind(models.TextChoices):
        """How it is presented."""

        TOKEN = "token", "API token"
        APPLICATION_CREDENTIAL = "application_credential", "application credential"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tokens")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    kind = models.CharField(max_length=24, choices=Kind, default=Kind.TOKEN)
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True)
    pepper = models.CharField(max_length=16, blank=True)
    hint = models.CharField(max_length=8)
    scopes = ArrayField(models.CharField(max_length=32))
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    warned_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_used_address = models.GenericIPAddressField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "user"], condition=Q(revoked_at=None), name="live_tokens")]

    def __str__(self) -> str:
        return f"{self.name} (…{self.hint})"
