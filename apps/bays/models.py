from functools import cached_property
from typing import ClassVar

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import Exact

from apps.bays.pricing import Cost, Hosts, cost_of, prices_for
from apps.coes.contracts import Role
from apps.common.models import Identified
from apps.credentials.models import CertificateAuthority
from apps.hosts.models import Cloud, Flavor
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.models import Tenant


class Condition(models.TextChoices):
    """How a bay is at rest. What it shows while an operation runs comes from the operation (`Bay.status`)."""

    CREATING = "creating"
    ACTIVE = "active"
    ERROR = "error"
    DELETED = "deleted"


class Health(models.TextChoices):
    """What the cluster itself says of its hosts."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"


STATUS_WHILE = {
    "bay.create": "creating",
    "bay.resize": "updating",
    "bay.heal": "updating",
    "bay.rotate_ca": "updating",
    "bay.delete": "deleting",
}
ALIVE = Q(deleted_at=None)


class Bay(Identified):
    """A cluster of container hosts running one COE for one tenant.

    The upper columns are desired and written by services; those below the line are observed and written by the reconciler.
    `next_authority` shall replace `authority`; hosts may still let in clients of `former_authority`, which was replaced.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="bays")
    name = models.CharField(max_length=40)
    coe = models.CharField(max_length=16)
    coe_version = models.CharField(max_length=32)
    cloud = models.ForeignKey(Cloud, on_delete=models.PROTECT, related_name="bays")
    aggregate = models.CharField(max_length=255)
    generation = models.PositiveIntegerField(default=1)
    next_authority = models.OneToOneField(CertificateAuthority, on_delete=models.PROTECT, null=True, related_name="+")
    delete_requested_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, db_index=True)
    tags = models.JSONField(default=dict)
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    # --- observed ---------------------------------------------------------------------------------------------------------------
    condition = models.CharField(max_length=16, choices=Condition, default=Condition.CREATING)
    health = models.CharField(max_length=16, choices=Health, default=Health.UNKNOWN)
    reason_code = models.CharField(max_length=32, blank=True)
    reason_message = models.TextField(blank=True)
    observed_generation = models.PositiveIntegerField(default=0)
    authority = models.OneToOneField(CertificateAuthority, on_delete=models.PROTECT, null=True, related_name="bay")
    former_authority = models.OneToOneField(CertificateAuthority, on_delete=models.PROTECT, null=True, related_name="+")
    cidr = models.CharField(max_length=18, null=True)  # noqa: DJ001 - NULL is "none", and unique constraints pass over it
    endpoint = models.CharField(max_length=270, blank=True)
    observed_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], condition=ALIVE, name="one_live_bay_per_name"),
            models.UniqueConstraint(fields=["cloud", "cidr"], condition=ALIVE, name="one_live_bay_per_network"),
            models.CheckConstraint(
                condition=Q(condition="deleted", deleted_at__isnull=False) | (~Q(condition="deleted") & ALIVE),
                name="deleted_bays_have_an_end",
            ),
            models.CheckConstraint(
                condition=Exact(Func(F("tags"), function="jsonb_typeof", output_field=models.TextField()), Value("object")),
                name="tags_are_an_object",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-created_at"], condition=ALIVE, name="live_bays_of_tenant")]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def operation(self) -> Operation | None:
        """The newest operation, the one people want to see. Selectors fill it for whole lists at once."""
        return Operation.objects.filter(subject_id=self.id).order_by("-preempts", "-created_at").first()

    @property
    def busy(self) -> bool:
        """Whether an operation is still to be done."""
        return self.operation is not None and self.operation.unfinished

    @property
    def rotating(self) -> bool:
        """Whether its authority is being replaced, or a replacement was given up half-way and waits to be asked for again."""
        return self.next_authority_id is not None or self.former_authority_id is not None

    @property
    def status(self) -> str:
        """One word for people and the API: creating active updating deleting deleted error …"""
        if self.operation is not None and self.operation.unfinished:
            return STATUS_WHILE[self.operation.kind]
        return self.condition

    @property
    def reason(self) -> tuple[str, str]:
        """Code and sentence of why it is not well: what the running operation waits for, else how it was left. Empty when all is well."""
        if self.operation is not None and self.operation.unfinished:
            return (self.operation.code, self.operation.message) if self.operation.state == State.WAITING else ("", "")
        return self.reason_code, self.reason_message

    @property
    def node_count(self) -> int:
        """How many hosts it shall have, managers included."""
        return sum(group.count for group in self.groups.all())

    @property
    def manager_count(self) -> int:
        """How many of them are managers."""
        return sum(group.count for group in self.groups.all() if group.role == Role.MANAGER)

    @property
    def flavor(self) -> Flavor:
        """The flavor of its hosts (of the managers, where groups differ)."""
        return min(self.groups.all(), key=lambda group: group.role).flavor

    @property
    def wanted(self) -> list[Hosts]:
        """The hosts it shall have, as they are priced."""
        return [Hosts(flavor=group.flavor, cloud=self.cloud, count=group.count) for group in self.groups.all() if group.count]

    @cached_property
    def price(self) -> Cost:
        """What its hosts cost by the tenant's price list. Selectors fill it for whole lists at once."""
        return cost_of(prices=prices_for(tenant=self.tenant), hosts=self.wanted)

    @property
    def live_hosts(self) -> "list[Host]":
        """Its hosts that are not removed, by number."""
        return sorted((host for host in self.hosts.all() if host.state != Host.State.REMOVED), key=lambda host: host.index)


class NodeGroup(models.Model):
    """Hosts of a bay that share role and flavor, and how many there shall be. Written by services."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="node_groups")
    bay = models.ForeignKey(Bay, on_delete=models.CASCADE, related_name="groups")
    role = models.CharField(max_length=8, choices=[(role, role) for role in Role])
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="+")
    count = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["bay", "role"], name="one_group_per_role")]

    def __str__(self) -> str:
        return f"{self.count} × {self.role}"


class Host(Identified):
    """One machine of a bay, as the reconciler knows it. `ref` is its name in the cloud; number, address and ref outlive a replacement.

    `address` is NULL until it is known. A host with a `published_port` shall be reachable from outside; `published_address` is where, empty
    until the cloud has said it. `delete_requested_at` is when somebody asked for what makes it go, and alone here written by services:
    from then on it is not billed.
    """

    class State(models.TextChoices):
        """Where it is between being wanted and being gone."""

        PLANNED = "planned"
        STARTED = "started"
        READY = "ready"
        LOST = "lost"
        DRAINING = "draining"
        REMOVED = "removed"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="hosts")
    bay = models.ForeignKey(Bay, on_delete=models.PROTECT, related_name="hosts")
    cloud = models.ForeignKey(Cloud, on_delete=models.PROTECT, related_name="hosts")
    group = models.ForeignKey(NodeGroup, on_delete=models.PROTECT, related_name="hosts")
    index = models.PositiveIntegerField()
    ref = models.CharField(max_length=63)
    hostname = models.CharField(max_length=63)
    address = models.GenericIPAddressField(null=True)
    published_address = models.CharField(max_length=253, blank=True)
    published_port = models.PositiveIntegerField(null=True)
    state = models.CharField(max_length=16, choices=State, default=State.PLANNED)
    detail = models.TextField(blank=True)
    node_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    delete_requested_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["bay", "index"], condition=~Q(state="removed"), name="one_live_host_per_number"),
            models.UniqueConstraint(
                fields=["cloud", "published_address", "published_port"],
                condition=~Q(state="removed") & ~Q(published_address=""),
                name="one_host_per_public_port",
            ),
            models.CheckConstraint(
                condition=Q(state="removed", removed_at__isnull=False) | (~Q(state="removed") & Q(removed_at=None)),
                name="removed_hosts_have_an_end",
            ),
        ]

    def __str__(self) -> str:
        return self.hostname

    @property
    def role(self) -> Role:
        """Manager or worker."""
        return Role(self.group.role)
