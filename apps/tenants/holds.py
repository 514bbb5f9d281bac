"""Holds: reasons for which a tenant may not grow. Bays ask for them where they ask for limits; who puts them is none of their business."""

from uuid import UUID

from django.db.models import Q

from apps.common.clock import now
from apps.common.errors import Conflict
from apps.tenants.models import Hold, Tenant


def refuse_growth_on_hold(*, tenant: Tenant) -> None:
    """Raise Conflict with the sentence of every hold if the tenant may not grow now; its code is that of the oldest."""
    holds = list(tenant.holds.order_by("created_at", "id"))
    if holds:
        raise Conflict(" ".join(hold.sentence for hold in holds), code=holds[0].code.partition(":")[0])


def set_holds(*, tenant_id: UUID, family: str, sentences: dict[str, str]) -> None:
    """Make the tenant's holds of one family (codes `family` or `family:…`) those of `sentences`, by code; others are not touched."""
    mine = Hold.objects.filter(tenant_id=tenant_id).filter(Q(code=family) | Q(code__startswith=f"{family}:"))
    mine.exclude(code__in=sentences).delete()
    for code, sentence in sentences.items():
        Hold.objects.update_or_create(
            tenant_id=tenant_id, code=code, defaults={"sentence": sentence}, create_defaults={"sentence": sentence, "created_at": now()}
        )
