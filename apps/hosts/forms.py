"""How operators write a cloud in the admin pages. What is secret is only ever typed in: stored encrypted, shown to nobody again.

The cloud is looked at before anything is stored: what is wrong stands beside its field, and nothing is half done.
"""

import re
from datetime import datetime
from typing import Any

from django import forms

from apps.common.clock import now
from apps.common.errors import InvalidInput
from apps.common.names import check_name
from apps.credentials.vault import VaultError
from apps.hosts.clouds import check_ports, look_at, record_facts, save_cloud, secrets_of, why_unhealthy
from apps.hosts.contracts import CloudCredentialsRejected, CloudFacts, ProviderError
from apps.hosts.models import Cloud
from apps.hosts.providers.base import PROVIDERS
from apps.hosts.providers.openstack.clouds_yaml import CloudsYamlRefused, RegionEntry, read_clouds_text
from apps.hosts.providers.openstack.session import DISCOVERY

TITLES = {"incus": "Incus", "openstack": "OpenStack"}
OPTIONS_OF = {"incus": ("socket", "url", "pool", "server_certificate"), "openstack": ("network", "external_network")}
"""Options with a field of their own; others are lines of `options`."""
SECRETS_OF_INCUS = ("client_certificate", "client_key")
NOT_SHOWN = ("config", "cacert_pem", f"{DISCOVERY}config", f"{DISCOVERY}cacert_pem", "group")
"""Settings that come out of a clouds.yaml or of add_cloud: kept, and shown nowhere as text to edit."""
KEPT = "Never shown again; leave empty to keep what is stored."


class WriteOnly(forms.Textarea):
    """A field that never shows what is in it, not even to whoever typed it a moment ago: pages are kept by browsers."""

    def format_value(self, value: Any) -> str:
        """Return nothing."""
        del value
        return ""


def _text(*, label: str, rows: int = 0, hint: str = "") -> forms.CharField:
    plain = {"autocomplete": "off", "spellcheck": "false"}
    area = WriteOnly if hint.endswith(KEPT) else forms.Textarea
    widget = area(attrs={**plain, "rows": rows, "cols": 80, "class": "vLargeTextField"}) if rows else forms.TextInput(attrs=plain)
    return forms.CharField(label=label, required=False, widget=widget, help_text=hint, strip=not rows)


class CloudForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for type checkers only
    """A cloud of any provider. After `is_valid()` it was looked at; `store()` writes the row and what was found."""

    name = forms.CharField(help_text="Short: lower-case letters, digits, hyphens.")
    provider = forms.ChoiceField(choices=[(kind, TITLES.get(kind, kind)) for kind in PROVIDERS])
    make_default = forms.BooleanField(label="Bays go here unless asked otherwise", required=False)
    options = _text(label="Other options", rows=4, hint="One KEY=VALUE a line; all of them are in the documentation of the provider.")

    clouds_yaml = _text(
        label="clouds.yaml",
        rows=12,
        hint=f"The text of an openstacksdk clouds.yaml with password or application credential, certificates as PEM. {KEPT}",
    )
    entry = _text(label="Entry", hint="The name in that text, if it has several.")
    region_name = _text(label="Region", hint="If the entry has several. Each region is a cloud of its own here.")
    discovery_yaml = _text(
        label="clouds.yaml for looking",
        rows=8,
        hint=f"Of a user who may read aggregates, hypervisors and Placement; without it room is told by the quota alone. {KEPT}",
    )
    discovery_entry = _text(label="Entry", hint="The name in that text, if it has several.")
    network = _text(label="Network", hint="An existing one that all bays share; or else:")
    external_network = _text(label="External network", hint="Each bay gets a network of its own, routed to this one, with floating IPs.")

    socket = _text(label="Socket", hint="Of an Incus on this machine, such as /var/lib/incus/unix.socket; or else:")
    url = _text(label="Address", hint="Of a remote Incus, such as https://incus.example.net:8443.")
    pool = _text(label="Storage pool", hint="Empty for “default”.")
    client_certificate = _text(label="Client certificate (PEM)", rows=4, hint=KEPT)
    client_key = _text(label="Client key (PEM)", rows=4, hint=KEPT)
    server_certificate = _text(label="Server certificate (PEM)", rows=4, hint="Of the remote server, which is pinned.")

    class Meta:
        model = Cloud
        fields = ("name", "provider", "title", "enabled", "public_address", "public_ports")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exists = bool(self.instance.name)
        self.found: CloudFacts | None = None
        self.asked_at: datetime = now()
        self._plain: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        self._region = self.instance.region
        if self._exists:
            for name in ("name", "provider"):
                self.fields[name].disabled = True
            for name in {name for names in OPTIONS_OF.values() for name in names}:
                self.fields[name].initial = self.instance.settings.get(name, "")
            self.fields["options"].initial = "\n".join(f"{key}={value}" for key, value in sorted(self._other_options().items()))
            self.fields["make_default"].initial = self.instance.is_default

    def clean_name(self) -> str:
        """Return a name that is free and can be one."""
        name = str(self.cleaned_data["name"])
        if self._exists:
            return name
        try:
            check_name(name=name)
        except InvalidInput as error:
            raise forms.ValidationError(error.detail) from error
        if Cloud.objects.filter(name=name).exists():
            raise forms.ValidationError(f"There is a cloud “{name}” already: change that one, or choose another name.")
        return name

    def clean_public_ports(self) -> str:
        """Return a range of ports."""
        try:
            return check_ports(text=self.cleaned_data["public_ports"])
        except InvalidInput as error:
            raise forms.ValidationError(error.detail) from error

    def clean_options(self) -> dict[str, str]:
        """Return the lines as settings."""
        found = {}
        for line in filter(None, (line.strip() for line in str(self.cleaned_data["options"]).splitlines())):
            key, separator, value = line.partition("=")
            if not separator or not re.fullmatch(r"[a-z_]+", key.strip()):
                raise forms.ValidationError(f"“{line[:60]}” is not KEY=VALUE.")
            if key.strip() in NOT_SHOWN or re.search(r"password|secret|token", key):
                raise forms.ValidationError(f"“{key.strip()}” is not written here but as part of a clouds.yaml.")
            found[key.strip()] = value.strip()
        return found

    def clean(self) -> dict[str, Any]:
        """Put the cloud together and look at it; what it refuses stands at the field that holds it."""
        cleaned = dict(super().clean() or self.cleaned_data)
        if self.errors:
            return cleaned
        try:
            before = secrets_of(cloud=self.instance) if self._exists else {}
        except VaultError as error:
            raise forms.ValidationError(str(error)) from error
        self._secrets = dict(before)
        kept = {name: value for name, value in self.instance.settings.items() if name in NOT_SHOWN}
        own = {name: cleaned[name].strip() for name in OPTIONS_OF[cleaned["provider"]] if cleaned[name].strip()}
        self._plain = {**kept, **cleaned["options"], **own}
        if cleaned["provider"] == "openstack":
            self._read_clouds_yaml(cleaned)
        else:
            self._read_incus(cleaned)
        # A cloud that is down must not keep its title from being changed; what leads to it is never stored unproved.
        if not self.errors and (not self._exists or (self._plain, self._secrets) != (self.instance.settings, before)):
            self._look(cleaned)
        return cleaned

    def store(self) -> Cloud:
        """Write the row, its secrets and what was found."""
        cleaned = self.cleaned_data
        cloud = save_cloud(
            name=cleaned["name"],
            title=cleaned["title"],
            provider=cleaned["provider"],
            options=self._plain,
            secrets=self._secrets,
            is_default=cleaned["make_default"] or self.instance.is_default,
            public_address=cleaned["public_address"],
            public_ports=cleaned["public_ports"],
            region=self._region,
            enabled=cleaned["enabled"],
        )
        if self.found is not None:
            record_facts(cloud=cloud, facts=self.found, asked_at=self.asked_at)
        return Cloud.objects.get(id=cloud.id)

    def _other_options(self) -> dict[str, str]:
        shown = {*NOT_SHOWN, *OPTIONS_OF.get(self.instance.provider, ())}
        return {key: value for key, value in self.instance.settings.items() if key not in shown}

    def _read_incus(self, cleaned: dict[str, Any]) -> None:
        if bool(cleaned["socket"]) == bool(cleaned["url"]):
            self.add_error("socket", "Say where the Incus is: either its socket or its address.")
        if cleaned["url"] and not cleaned["public_address"]:
            self.add_error("public_address", "Hosts of a remote Incus are reached through ports published on its public address.")
        self._plain.setdefault("pool", "default")
        self._secrets |= {name: cleaned[name] for name in SECRETS_OF_INCUS if cleaned[name].strip()}

    def _read_clouds_yaml(self, cleaned: dict[str, Any]) -> None:
        if not cleaned["network"] and not cleaned["external_network"]:
            self.add_error("network", "Say how bays reach the outside: one network that all share, or an external network.")
        if not cleaned["clouds_yaml"].strip() and not self._plain.get("config"):
            self.add_error("clouds_yaml", "Paste the entry of a clouds.yaml: the cloud's address and credentials stand there.")
        self._take(cleaned, field="clouds_yaml", prefix="", entry=cleaned["entry"], region=cleaned["region_name"])
        self._take(cleaned, field="discovery_yaml", prefix=DISCOVERY, entry=cleaned["discovery_entry"], region=self._region)

    def _take(self, cleaned: dict[str, Any], *, field: str, prefix: str, entry: str, region: str) -> None:
        """Replace one credential, plain and secret part together, by what was pasted, if anything was."""
        if not cleaned[field].strip():
            return
        try:
            found = read_clouds_text(text=cleaned[field], entry=entry, regions=[region] if region else [])
        except CloudsYamlRefused as error:
            self.add_error(field, str(error))
            return
        if len(found) > 1:
            self.add_error("region_name", f"The entry has several regions: write one of {', '.join(each.region for each in found)}.")
            return
        self._replace(found[0], prefix=prefix)

    def _replace(self, entry: RegionEntry, *, prefix: str) -> None:
        self._plain.pop(f"{prefix}cacert_pem", None)
        self._plain |= entry.settings(prefix=prefix)
        kept = {name: secret for name, secret in self._secrets.items() if name.startswith(DISCOVERY) is not (prefix == DISCOVERY)}
        self._secrets = kept | {f"{prefix}{name}": secret for name, secret in entry.secrets.items()}
        if not prefix:
            self._region = entry.region

    def _look(self, cleaned: dict[str, Any]) -> None:
        self.asked_at = now()
        try:
            self.found = look_at(provider=cleaned["provider"], name=cleaned["name"], options=self._plain, secrets=self._secrets)
        except ProviderError as error:
            rejected = isinstance(error, CloudCredentialsRejected)
            field = {"openstack": "clouds_yaml", "incus": "client_key"}[cleaned["provider"]] if rejected else None
            self.add_error(field, why_unhealthy(error))
