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


class Tenant(Identified):
    """The organisation that owns bays, pays, and has members with roles. `slug` is its name in URLs."""

    slug = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    personal = models.BooleanField(default=False)
    max_bays = models.PositiveIntegerField(default=default_max_bays)
    max_hosts = models.PositiveIntegerField(default=default_max_hosts)
    created_at = models.DateTimeField()
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


class ApiToken(Identified):
    """A bearer token of one user for one tenant. Only a keyed hash of it is stored, so a copy of the database opens nothing.

    Its permissions are the intersection of its scopes and what the user's role allows at the time of the request.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tokens")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=8)
    scopes = ArrayField(models.CharField(max_length=32))
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    last_used_address = models.GenericIPAddressField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "user"], condition=Q(revoked_at=None), name="live_tokens")]

    def __str__(self) -> str:
        return f"{self.name} (…{self.hint})"
