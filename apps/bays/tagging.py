from django.db import transaction

from apps.bays.models import Bay
from apps.bays.tags import parse_tags
from apps.bays.writes import audit, bump, lock_bay
from apps.tenants.context import Access
from apps.tenants.roles import Permission


@transaction.atomic
def tag_bay(*, access: Access, reference: str, tags: object, if_match: str | None = None) -> Bay:
    """Give the bay these tags in place of those it has; the same again changes nothing. Hosts know nothing of them.

    Raises InvalidInput for tags that break a rule.
    """
    access.require(Permission.BAY_CHANGE)
    bay = lock_bay(access=access, reference=reference, if_match=if_match)
    wanted = parse_tags(value=tags)
    if wanted == bay.tags:
        return bay
    before, bay.tags = bay.tags, wanted
    bump(bay=bay, fields=("tags",))
    audit(
        by=access.actor,
        bay=bay,
        action="bay.tagged",
        sentence=f"changed the tags of the bay {bay.name}",
        data={"from": before, "to": wanted},
    )
    return bay
