from typing import Any

from celery import shared_task

from apps.tenants.token_warnings import warn_of_expiring


@shared_task(name="tenants.warn_of_expiring_tokens")
def warn_of_expiring_tokens(**_: Any) -> None:
    """Send mails about tokens that expire within a week."""
    warn_of_expiring()
