"""What an operator changes by hand: flavors with their prices, and which clouds are used. Secrets are set by `manage.py add_cloud` only."""

from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest

from apps.hosts.models import Aggregate, Cloud, Flavor


@admin.register(Flavor)
class FlavorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """Sizes and prices."""

    list_display = ("name", "host_kind", "vcpus", "memory_mib", "disk_gib", "price_per_hour", "enabled")
    list_editable = ("price_per_hour", "enabled")
    list_filter = ("host_kind",)
    ordering = ("host_kind", "memory_mib")


class AggregateInline(admin.TabularInline):  # type: ignore[type-arg]  # as above
    """What the cloud's last look found."""

    model = Aggregate
    fields = readonly_fields = ("name", "host_kind", "servers", "free_vcpus", "free_memory_mib", "free_disk_gib", "metadata")
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Cloud | None = None) -> bool:
        """Return False: aggregates come from the cloud."""
        del request, obj
        return False


@admin.register(Cloud)
class CloudAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """Which clouds are used, and how they are."""

    list_display = ("name", "title", "provider", "enabled", "is_default", "healthy", "version", "synced_at")
    fields = (
        "name",
        "title",
        "enabled",
        "public_address",
        "public_ports",
        "provider",
        "is_default",
        "healthy",
        "health_message",
        "version",
        "synced_at",
    )
    readonly_fields = ("name", "provider", "is_default", "healthy", "health_message", "version", "synced_at")
    inlines: ClassVar = [AggregateInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: a cloud comes with secrets, which a form would show."""
        del request
        return False
