"""OpenStack's answers as the short family of errors every provider raises.

Nova, Neutron, Glance, Cinder and Keystone tell their refusals apart by status and, within one status, only by text. The texts were
read from the services' sources and from a running Zed (2022.2); one that nobody knows is classified by its status alone.
"""

from collections.abc import Mapping
from typing import Any

from keystoneauth1.exceptions.auth import AuthorizationFailure
from keystoneauth1.exceptions.auth_plugins import AuthPluginException
from keystoneauth1.exceptions.catalog import CatalogException
from keystoneauth1.exceptions.connection import SSLError
from keystoneauth1.exceptions.http import HttpError
from openstack.exceptions import HttpException

from apps.hosts.contracts import (
    CloudBusy,
    CloudCredentialsRejected,
    CloudRefused,
    CloudUnreachable,
    FlavorMissing,
    HostFailed,
    ImageMissing,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
)

SERVER_ERROR, TOO_MANY = 500, 429
LONGEST_TEXT = 300


class NotThere(CloudRefused):
    """The thing that was asked for does not exist. Never leaves this package."""


class AddressTaken(CloudBusy):
    """The address that was asked for belongs to another port."""


class AlreadyThere(CloudBusy):
    """The thing exists already: somebody was faster. Never leaves this package."""


class NotPermitted(CloudCredentialsRejected):
    """The portal's user lacks a role for this request."""


class OutcomeUnknown(CloudUnreachable):
    """A POST was sent and no usable answer came: it may have been carried out, so look again before asking again."""


BY_TEXT: tuple[tuple[type[ProviderError], tuple[str, ...]], ...] = (
    (
        QuotaExceeded,
        ("quota exceeded", "quota limit", "overquota", "maximum number of volumes allowed", "exceeds allowed", "limit exceeded for"),
    ),
    (NoCapacity, ("no valid host", "no more ip addresses", "no more floating ip", "anti-affinity instance group policy was violated")),
    (ImageMissing, ("can not find requested image", "invalid imageref", "invalid image")),
    (FlavorMissing, ("invalid flavorref",)),
    (AddressTaken, ("ipaddressinuse", "ipaddressalreadyallocated", "already allocated in subnet", "is in use by another")),
    (AlreadyThere, ("securitygroupruleexists", "already has", "already exists")),
)
"""Read in answers with status 400 to 499."""

BY_THING = (("image", ImageMissing), ("flavor", FlavorMissing))
"""Nova says "Image 1234 could not be found." with status 400 when asked for a server."""

FAULTS: tuple[tuple[type[ProviderError], tuple[str, ...]], ...] = (
    (NoCapacity, ("no valid host", "anti-affinity", "insufficient compute resources")),
    (QuotaExceeded, ("quota",)),
    (ImageMissing, ("image could not be found", "imagenotfound", "image not found", "is not active", "unacceptable")),
)

BY_STATUS: dict[int, type[ProviderError]] = {
    401: CloudCredentialsRejected,
    403: NotPermitted,
    404: NotThere,
    409: CloudBusy,
    413: QuotaExceeded,
    429: CloudUnreachable,
}


def error_of(*, what: str, status: int, text: str) -> ProviderError:
    """Return the error for a refusal of the request `what` ("POST compute/servers") with an HTTP status of 400 or more."""
    sentence = f"OpenStack answered {what} with {status}: {text or 'no reason given'}"
    if status >= SERVER_ERROR:
        return OutcomeUnknown(sentence) if what.startswith("POST ") else CloudUnreachable(sentence)
    if status in {401, TOO_MANY}:
        return BY_STATUS[status](sentence)
    lowered = text.lower()
    for kind, needles in BY_TEXT:
        if any(needle in lowered for needle in needles):
            return kind(sentence)
    if "could not be found" in lowered:
        return next((kind for thing, kind in BY_THING if lowered.startswith(thing)), NotThere)(sentence)
    if status == 403:  # noqa: PLR2004
        return NotPermitted(f"{sentence}. Give the portal's user the role `member` in its project (see the operator's guide).")
    return BY_STATUS.get(status, CloudRefused)(sentence)


def error_from_library(*, what: str, error: Exception) -> ProviderError:
    """Return the error for what keystoneauth raised instead of an answer to `what`."""
    text = one_line(str(error) or type(error).__name__)
    if isinstance(error, HttpException) and error.status_code:
        return error_of(what=what, status=error.status_code, text=one_line(error.details or text))
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in text:
        return CloudCredentialsRejected(f"The cloud shows a certificate that is not trusted; set its authority (cacert): {text}")
    if isinstance(error, HttpError) and error.http_status not in {401, 403}:
        transient = error.http_status == TOO_MANY or error.http_status >= SERVER_ERROR
        return (CloudUnreachable if transient else CloudRefused)(f"OpenStack's Keystone answered with {error.http_status}: {text}")
    if isinstance(error, HttpError | AuthorizationFailure | AuthPluginException):
        return CloudCredentialsRejected(f"OpenStack's Keystone does not accept the portal's credentials: {text}")
    if isinstance(error, CatalogException):
        return CloudRefused(f"The cloud's catalogue has no endpoint for {what}; check region and interface in its settings: {text}")
    kind = OutcomeUnknown if what.startswith("POST ") else CloudUnreachable
    return kind(f"OpenStack did not answer {what}: {text}")


def error_of_fault(*, ref: str, fault: Mapping[str, Any] | None) -> ProviderError:
    """Return the error for a server that ended in ERROR, from what Nova notes about it."""
    text = one_line(str((fault or {}).get("message") or "no reason given"))
    lowered = text.lower()
    kind = next((kind for kind, needles in FAULTS if any(needle in lowered for needle in needles)), HostFailed)
    if kind is HostFailed and "image" in lowered and "could not be found" in lowered:
        kind = ImageMissing
    return kind(f"Nova could not start {ref}: {text}")


def text_of(body: Any) -> str:
    """Return the sentence in an error's JSON; every service wraps it differently."""
    if isinstance(body, str):
        return one_line(body)
    if not isinstance(body, dict):
        return ""
    if isinstance(body.get("message"), str):
        kind = body.get("type")
        return one_line(f"{kind}: {body['message']}" if isinstance(kind, str) else body["message"])
    return next((found for value in body.values() if (found := text_of(value) if isinstance(value, dict) else "")), "")


def one_line(text: str) -> str:
    """Return the text without line breaks and not longer than an operator reads."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}…"
