"""What operators change in Django's admin pages (the operator's desk) stands in the portal's audit log as well."""

from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry

from apps.accounts.models import User
from apps.audit.services import record

VERBS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}


def repeat(*, instance: LogEntry, created: bool, **_: Any) -> None:
    """Write an audit row for a line of the admin pages' own log, in its transaction; receives `post_save` of it."""
    if not created:
        return
    verb = VERBS[instance.action_flag]
    kind = instance.content_type.model if instance.content_type else "row"
    detail = instance.get_change_message()
    record(
        by=User.objects.get(pk=instance.user_id).actor,
        action=f"{kind}.{verb}",
        sentence=f"{verb} the {kind} {instance.object_repr}" + (f": {detail.rstrip('.')}" if verb == "changed" and detail else ""),
        tenant_id=None,
        target_id=str(instance.object_id or "")[:64],
        target_label=instance.object_repr,
        data={"in": "operator's desk"},
    )
