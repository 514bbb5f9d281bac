"""To whom an e-mail address belongs, and which addresses belong to no person."""

from allauth.account.models import EmailAddress
from django.db.models import F
from django.db.models.functions import Lower

from apps.accounts.models import User

SERVICE_DOMAIN = "service.invalid"
"""Service accounts have addresses below this name, which cannot exist (RFC 2606): no mail ever goes there and no person signs in."""


def is_service_address(*, email: str) -> bool:
    """Tell whether this is the address of a service account, or could be one."""
    return email.strip().lower().rpartition("@")[2].rstrip(".") == SERVICE_DOMAIN


def holder_of(*, email: str) -> User | None:
    """Return whose address this is: theirs since sign-up, or confirmed later. One that is only being changed to is nobody's yet."""
    owner = User.objects.filter(email__iexact=email).first()
    if owner is not None:
        return owner
    confirmed = EmailAddress.objects.filter(email__iexact=email, verified=True).select_related("user").first()
    return confirmed.user if confirmed is not None else None


def drop_claims(*, email: str, but: User | None = None) -> None:
    """Forget that others than `but` wanted to change to this address: it has been shown to be somebody's."""
    claims = (
        EmailAddress.objects.filter(email__iexact=email, verified=False).annotate(own=Lower("user__email")).exclude(own=Lower(F("email")))
    )
    if but is not None:
        claims = claims.exclude(user=but)
    claims.delete()
