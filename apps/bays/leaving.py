"""Which hosts of a bay go: the highest numbers of what a group has too many, all of them once the bay is to be deleted.

Services note it in the transaction that accepts the change, since from then on a host is not billed; the reconciler comes to the same
answer when it drains them, however much later.
"""

from collections.abc import Iterable
from datetime import datetime

from apps.bays.models import Bay, Host, NodeGroup


def staying_and_surplus(*, group: NodeGroup, live: Iterable[Host]) -> tuple[list[Host], list[Host]]:
    """Return the group's hosts among `live` (by number) that are wanted, and those that are too many; hosts that drain are neither."""
    mine = [host for host in live if host.group_id == group.id and host.state != Host.State.DRAINING]
    return mine[: group.count], mine[group.count :]


def note_leaving(*, bay: Bay, at: datetime) -> None:
    """Write down that hosts go since `at`, and that those go no more which a larger size wants again. The caller has locked the bay."""
    live = list(bay.hosts.exclude(state=Host.State.REMOVED).order_by("index"))
    if bay.delete_requested_at is not None:
        leaving = {host.id for host in live}
    else:
        leaving = {host.id for group in bay.groups.all() for host in staying_and_surplus(group=group, live=live)[1]}
    bay.hosts.filter(id__in=leaving, delete_requested_at=None).update(delete_requested_at=at)
    bay.hosts.exclude(id__in=leaving).exclude(state__in=[Host.State.DRAINING, Host.State.REMOVED]).update(delete_requested_at=None)
