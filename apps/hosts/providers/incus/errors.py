"""Incus' answers as the short family of errors every provider raises.

Incus tells most of its refusals apart only by their text (a full quota, a missing image and a broken disk are all status 500),
so the texts are matched here, once. They were read from Incus 6.0 and LXD 5.0; a text nobody knows stays a transient failure.
"""

from apps.hosts.contracts import (
    CloudBusy,
    CloudCredentialsRejected,
    CloudRefused,
    CloudUnreachable,
    ImageMissing,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
)


class NotThere(CloudRefused):
    """The thing that was asked for does not exist. Never leaves this package."""


class AlreadyThere(CloudBusy):
    """Somebody made a thing of this name between our look and our create. Never leaves this package."""


class ChangedMeanwhile(CloudBusy):
    """The thing was changed between our look and our write (ETag). Never leaves this package."""


class AlreadySo(CloudRefused):
    """A host that was to be started runs, or one that was to be stopped does not. Never leaves this package."""


class NetworkNotAllowed(CloudBusy):
    """The project's list of networks lacks the bay's: another bay of the tenant was written over ours at the same moment."""


BY_TEXT: tuple[tuple[type[ProviderError], tuple[str, ...]], ...] = (
    (AlreadySo, ("instance is already running", "instance is already stopped")),
    (QuotaExceeded, ("reached maximum",)),
    (NetworkNotAllowed, ("network not allowed in project",)),
    (
        ImageMissing,
        ("image not provided for instance creation", "image not found", "image alias", "failed getting image"),
    ),
    (AlreadyThere, ("already exists", "unique constraint failed", "already in use by another")),
    (
        NoCapacity,
        (
            "no space left",
            "disk quota exceeded",
            "not enough space",
            "cannot allocate memory",
            "not enough uid/gid",
            "no suitable cluster member",
            "no available cluster member",
            "couldn't find a cluster member",
        ),
    ),
    (NotThere, ("project not found", "instance not found", "network not found", "network acl not found", "no such object")),
    (
        CloudBusy,
        (
            "is busy running",
            "matching non-reusable operation",
            "forkfile.sock",  # the helper that writes files ends when its host starts or goes
            "currently in use",
            "is in use",
            "only empty projects can be removed",
            "instance is running",
            "database is locked",
            "failed to delete bridge children interfaces",  # Incus stumbled over a host that stopped at that moment
        ),
    ),
    (
        CloudRefused,
        (
            "invalid ",
            "not allowed",
            "is forbidden",
            "is too low",
            "failed checking if instance creation allowed",
            "failed to receive fd from listener process",
            "address already in use",
            "cannot assign requested address",
        ),
    ),
)

BY_STATUS: dict[int, type[ProviderError]] = {
    400: CloudRefused,
    401: CloudCredentialsRejected,
    403: CloudCredentialsRejected,
    404: NotThere,
    409: AlreadyThere,
    412: ChangedMeanwhile,
    429: CloudUnreachable,
}


def error_of(*, what: str, status: int, text: str) -> ProviderError:
    """Return the error for Incus' refusal `text` of the request `what` ("POST instances"); `status` is its error code."""
    kind = BY_STATUS.get(status) if status in {401, 403, 412, 429} else None
    if kind is None:
        lowered = text.lower()
        kind = next((kind for kind, needles in BY_TEXT if any(needle in lowered for needle in needles)), None)
    if kind is None:
        kind = BY_STATUS.get(status, CloudUnreachable)
    return kind(f"Incus answered {what} with: {text or f'status {status}'}")
