"""Clouds as rows and as connections: opening a provider, and looking at what it has."""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from apps.common.clock import now
from apps.common.errors import InvalidInput
from apps.credentials import vault
from apps.hosts.contracts import CloudCredentialsRejected, CloudFacts, ProviderError
from apps.hosts.models import Aggregate, Cloud
from apps.hosts.providers.base import CloudAccess, Provider, load_provider

log = structlog.get_logger(__name__)
FIRST_PORT, LAST_PORT = 1024, 65535
_open: dict[UUID, tuple[str, Provider]] = {}
_opening = threading.Lock()


def secrets_context(*, cloud_id: UUID) -> str:
    """Return the context the secrets of a cloud are encrypted with."""
    return f"cloud:{cloud_id}"


def provider_of(*, cloud: Cloud) -> Provider:
    """Return this process's provider for the cloud, opened once and again after the operator changed the row."""
    version = cloud.updated_at.isoformat()
    with _opening:
        known = _open.get(cloud.id)
        if known is not None and known[0] == version:
            return known[1]
        provider = open_provider(kind=cloud.provider, name=cloud.name, options=cloud.settings, secrets=secrets_of(cloud=cloud))
        _open[cloud.id] = (version, provider)
    return provider


def open_provider(*, kind: str, name: str, options: Mapping[str, str], secrets: Mapping[str, str]) -> Provider:
    """Return a provider for a cloud that may have no row yet; whoever opens one closes it. Raises ProviderError for wrong options."""
    access = CloudAccess(name=name, installation=settings.INSTALLATION, settings=options, secrets=secrets)
    return load_provider(kind=kind)(access)


def secrets_of(*, cloud: Cloud) -> dict[str, str]:
    """Return the cloud's secrets in plain text, for as short as possible; raises VaultError if they cannot be opened."""
    if not cloud.secrets_encrypted:
        return {}
    plain: dict[str, str] = json.loads(vault.decrypt(token=cloud.secrets_encrypted, context=secrets_context(cloud_id=cloud.id)))
    return plain


def save_cloud(
    *,
    name: str,
    title: str,
    provider: str,
    options: dict[str, str],
    secrets: dict[str, str],
    is_default: bool,
    public_address: str,
    public_ports: str,
    region: str = "",
    enabled: bool | None = None,
) -> Cloud:
    """Insert or change the cloud `name`; an empty `secrets` keeps those it has. The first cloud becomes the default.

    `enabled` None leaves it as it is; a new one is switched on.
    """
    moment = now()
    with transaction.atomic():
        cloud = Cloud.objects.select_for_update().filter(name=name).first() or Cloud(name=name, created_at=moment)
        is_default = is_default or not Cloud.objects.exclude(id=cloud.id).filter(is_default=True).exists()
        if is_default:
            Cloud.objects.exclude(id=cloud.id).filter(is_default=True).update(is_default=False)
        cloud.region = region
        cloud.title, cloud.provider, cloud.settings, cloud.updated_at = title, provider, options, moment
        cloud.is_default, cloud.public_address, cloud.public_ports = is_default, public_address, public_ports
        cloud.enabled = cloud.enabled if enabled is None else enabled
        if secrets:
            cloud.secrets_encrypted = vault.encrypt(plaintext=json.dumps(secrets).encode(), context=secrets_context(cloud_id=cloud.id))
        cloud.save()
    return cloud


def check_ports(*, text: str) -> str:
    """Return a range of ports such as "20000-29999"; raises InvalidInput for anything else."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and FIRST_PORT <= int(first) <= int(last) <= LAST_PORT):
        raise InvalidInput.field(
            "public_ports",
            f"The public ports are {text!r}; write two ports between {FIRST_PORT} and {LAST_PORT}, such as 20000-29999.",
        )
    return text


def look_at(*, provider: str, name: str, options: Mapping[str, str], secrets: Mapping[str, str]) -> CloudFacts:
    """Return what a cloud with these options has, before anything of it is stored; raises ProviderError with what is wrong."""
    opened = open_provider(kind=provider, name=name, options=options, secrets=secrets)
    try:
        return opened.discover()
    finally:
        opened.close()


def sync_cloud(*, cloud: Cloud) -> bool:
    """Look at the cloud and write down its health, aggregates and room; return whether it answered.

    One that does not keeps what was last known of it, with the reason beside it.
    """
    asked_at = now()
    try:
        facts = _discover(provider_of(cloud=cloud))
    except (ProviderError, vault.VaultError) as error:
        code = error.code if isinstance(error, ProviderError) else CloudCredentialsRejected.code
        log.warning("cloud_not_synced", cloud=cloud.name, code=code, error=str(error))
        Cloud.objects.filter(id=cloud.id).update(healthy=False, health_message=why_unhealthy(error))
        return False
    except Exception as error:  # an answer nobody foresaw must not leave the cloud looking healthy
        log.exception("cloud_not_understood", cloud=cloud.name)
        sentence = f"The cloud answered something this portal does not understand ({type(error).__name__}); the log has the details."
        Cloud.objects.filter(id=cloud.id).update(healthy=False, health_message=sentence)
        return False
    record_facts(cloud=cloud, facts=facts, asked_at=asked_at)
    return True


def _discover(provider: Provider) -> CloudFacts:
    """Look, and once more where that may help: one lost answer must not keep everybody from creating bays until the next look."""
    try:
        return provider.discover()
    except ProviderError as error:
        if not error.transient:
            raise
        log.info("cloud_asked_again", code=error.code, error=str(error))
        return provider.discover()


def why_unhealthy(error: Exception) -> str:
    """Return the sentence for operators; one about credentials says so, whatever the cloud called it."""
    about = "The cloud does not accept this portal’s credentials. " if isinstance(error, CloudCredentialsRejected) else ""
    return about + str(error)


def summary_of(*, cloud: Cloud) -> str:
    """Return what the last look found, in one line for operators."""
    kinds = Counter(cloud.aggregates.values_list("host_kind", flat=True))
    numbers = [
        ", ".join(f"{count} {_plural('aggregate', count)} of {kind} hosts" for kind, count in sorted(kinds.items())) or "no aggregates",
        f"{len(cloud.images)} {_plural('node image', len(cloud.images))}",
    ]
    if cloud.flavors is not None:
        numbers.append(f"{len(cloud.flavors)} {_plural('flavor', len(cloud.flavors))}")
    return f"{cloud.version}: {', '.join(numbers)}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


@transaction.atomic
def record_facts(*, cloud: Cloud, facts: CloudFacts, asked_at: datetime) -> None:
    """Write down what a look at the cloud, begun at `asked_at`, has found."""
    Cloud.objects.filter(id=cloud.id).update(
        healthy=True,
        health_message="",
        version=facts.version,
        unavailable={str(kind): reason for kind, reason in facts.unavailable.items()},
        limitations=list(facts.limitations),
        used_cidrs=list(facts.used_cidrs),
        images=[asdict(image) for image in facts.images],
        flavors=None if facts.flavors is None else [asdict(flavor) for flavor in facts.flavors],
        quota=None if facts.quota is None else asdict(facts.quota),
        networks=list(facts.networks),
        volumes=facts.volumes,
        warnings=list(facts.warnings),
        synced_at=asked_at,
    )
    seen = set()
    for info in facts.aggregates:
        seen_now = asdict(info)
        name, host_kind = seen_now.pop("name"), seen_now.pop("host_kind")
        row, _ = Aggregate.objects.update_or_create(cloud=cloud, name=name, host_kind=host_kind, defaults=seen_now)
        seen.add(row.id)
    Aggregate.objects.filter(cloud=cloud).exclude(id__in=seen).delete()
