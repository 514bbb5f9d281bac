"""What an operator changes by hand: flavors, and clouds. A cloud's secrets go in here and never come out."""

import json
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.hosts.clouds import summary_of, sync_cloud
from apps.hosts.forms import TITLES, CloudForm
from apps.hosts.models import Aggregate, Cloud, Flavor
from apps.hosts.providers.openstack.session import DISCOVERY

COMMON = ("name", "provider", "title", "enabled", "make_default", "public_address", "public_ports", "options")
OPENSTACK = ("clouds_yaml", "entry", "region_name", "network", "external_network", "discovery_yaml", "discovery_entry")
INCUS = ("socket", "url", "pool", "client_certificate", "client_key", "server_certificate")
SEEN = ("healthy", "health_message", "region", "version", "synced_at", "look")


@admin.register(Flavor)
class FlavorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """Sizes; prices are in the price book."""

    list_display = ("name", "host_kind", "vcpus", "memory_mib", "disk_gib", "volume_gib", "enabled")
    list_editable = ("enabled",)
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
    """Which clouds there are, how they are reached, and how they are."""

    form = CloudForm
    list_display = ("name", "title", "provider", "region", "enabled", "is_default", "healthy", "version", "synced_at")
    readonly_fields = ("healthy", "health_message", "region", "version", "synced_at", "signed_in_as", "looks_as", "look")

    def get_fieldsets(self, request: HttpRequest, obj: Cloud | None = None) -> Any:
        """Return what there is to say: of both providers for a new cloud, of its own for one that exists."""
        del request
        if obj is None:
            return [(None, {"fields": COMMON}), ("OpenStack", {"fields": OPENSTACK}), ("Incus", {"fields": INCUS})]
        own = {"openstack": (*OPENSTACK, "signed_in_as", "looks_as"), "incus": INCUS}[obj.provider]
        return [(None, {"fields": COMMON}), (TITLES[obj.provider], {"fields": own}), ("Last look", {"fields": SEEN})]

    def get_inlines(self, request: HttpRequest, obj: Cloud | None) -> list[Any]:
        """Return the aggregates of a cloud that was looked at."""
        del request
        return [AggregateInline] if obj else []

    def save_model(self, request: HttpRequest, obj: Cloud, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Store what the form has put together and looked at, and say what was found."""
        del change
        stored = form.store()
        answered = form.found is not None or (stored.enabled and sync_cloud(cloud=stored))
        obj.id = stored.id
        obj.refresh_from_db()
        if not answered:
            said = obj.health_message if obj.enabled else "it is switched off and was not looked at"
            messages.warning(request, f"{obj.name} is stored, but: {said}")
            return
        messages.success(request, f"{obj.name}: {summary_of(cloud=obj)}.")
        for warning in obj.warnings:
            messages.warning(request, warning)

    @admin.display(description="Signs in as")
    def signed_in_as(self, cloud: Cloud) -> str:
        """Return where and as whom the portal signs in; nothing of it is secret."""
        return _whom(cloud, prefix="")

    @admin.display(description="Looks as")
    def looks_as(self, cloud: Cloud) -> str:
        """Return as whom the portal looks at aggregates and hypervisors."""
        return _whom(cloud, prefix=DISCOVERY)

    @admin.display(description="Everything that was found")
    def look(self, cloud: Cloud) -> SafeString:
        """Return the way to the operator's page of the cloud."""
        return format_html('<a href="{}">{}</a>', reverse("dashboard:operator-cloud", args=[cloud.name]), f"{cloud.title} in detail")


def _whom(cloud: Cloud, *, prefix: str) -> str:
    try:
        auth = json.loads(cloud.settings.get(f"{prefix}config", "") or "{}").get("auth", {})
    except ValueError:
        return "The stored entry cannot be read: paste it again."
    whom = auth.get("username") or auth.get("user_id") or auth.get("application_credential_id") or auth.get("application_credential_name")
    project = auth.get("project_name") or auth.get("project_id")
    words = [str(auth.get("auth_url", "")), f"as {whom}" if whom else "", f"in project {project}" if project else ""]
    return ", ".join(word for word in words if word) or "–"
