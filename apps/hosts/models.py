from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.common.models import Identified
from apps.hosts.contracts import HostKind, HostSize

KINDS = [(kind.value, {"container": "Container", "vm": "Virtual machine", "baremetal": "Bare metal"}[kind]) for kind in HostKind]


class Cloud(Identified):
    """A place hosts come from: one region of one cloud. The operator writes the upper half, the sync the observed lower half.

    `settings` are plain options of the provider; secrets (client keys, passwords) are encrypted by the vault as one JSON text.
    `flavors`, `quota` and `networks` are what the cloud itself has (`CloudFacts`), `flavors` NULL where hosts may have any size.
    `strays` names bays that have something in the cloud and no row here: nobody but the operator may delete them.
    """

    name = models.CharField(max_length=40, unique=True)
    title = models.CharField(max_length=80)
    provider = models.CharField(max_length=16)
    region = models.CharField(max_length=80, blank=True)
    settings = models.JSONField(default=dict)
    secrets_encrypted = models.TextField(blank=True)
    enabled = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)
    public_address = models.CharField(max_length=253, blank=True)
    public_ports = models.CharField(max_length=16, default="20000-29999")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    healthy = models.BooleanField(default=False)
    health_message = models.TextField(default="Not asked yet.")
    version = models.CharField(max_length=80, blank=True)
    unavailable = models.JSONField(default=dict)
    limitations = ArrayField(models.CharField(max_length=40), default=list)
    used_cidrs = ArrayField(models.CharField(max_length=43), default=list)
    images = models.JSONField(default=list)
    flavors = models.JSONField(null=True)
    quota = models.JSONField(null=True)
    networks = ArrayField(models.CharField(max_length=255), default=list)
    volumes = models.BooleanField(default=False)
    warnings = models.JSONField(default=list)
    strays = models.JSONField(default=list)
    synced_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_cloud")]

    def __str__(self) -> str:
        return self.name


class Aggregate(Identified):
    """A set of servers of a cloud for one kind of host, as last seen; numbers are totals and what is free. Written by the sync.

    `machines` are its servers one by one (`MachineInfo` as JSON), empty where the cloud does not tell.
    """

    cloud = models.ForeignKey(Cloud, on_delete=models.CASCADE, related_name="aggregates")
    name = models.CharField(max_length=255)
    host_kind = models.CharField(max_length=16, choices=KINDS)
    metadata = models.JSONField(default=dict)
    servers = models.PositiveIntegerField()
    total_vcpus = models.PositiveIntegerField()
    total_memory_mib = models.PositiveBigIntegerField()
    total_disk_gib = models.PositiveBigIntegerField()
    free_vcpus = models.PositiveIntegerField()
    free_memory_mib = models.PositiveBigIntegerField()
    free_disk_gib = models.PositiveBigIntegerField()
    machines = models.JSONField(default=list)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["cloud", "name", "host_kind"], name="one_aggregate_per_name_and_kind")]

    def __str__(self) -> str:
        return f"{self.cloud_id}/{self.name}"


class Flavor(Identified):
    """A size and kind of host; prices are in the price book. `extra_specs` are matched against an aggregate's metadata as Nova does."""

    name = models.CharField(max_length=40, unique=True)
    host_kind = models.CharField(max_length=16, choices=KINDS)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    processes = models.PositiveIntegerField(default=4096)
    volume_gib = models.PositiveIntegerField(default=0, help_text="block volume for the engine's data, in GiB; 0 keeps it on the disk")
    extra_specs = models.JSONField(default=dict, blank=True)
    enabled = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(vcpus__gt=0, memory_mib__gt=0, disk_gib__gt=0, processes__gt=0), name="flavors_have_a_size"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def size(self) -> HostSize:
        """What one host of this flavor may use."""
        return HostSize(
            vcpus=self.vcpus, memory_mib=self.memory_mib, disk_gib=self.disk_gib, processes=self.processes, volume_gib=self.volume_gib
        )
