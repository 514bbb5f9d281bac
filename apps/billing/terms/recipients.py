"""Who gets the mails about an organisation's bills: invoices, reminders."""

from apps.billing.models import Account
from apps.tenants.models import Membership
from apps.tenants.roles import Role


def recipients_of(account: Account) -> list[str]:
    """Return the addresses: that of the billing details, if there is one, then those of owners and billing members, each once.

    Members who were switched off and programs get none. Send each a mail of its own: members' addresses are not for everybody's eyes.
    """
    people = Membership.objects.filter(
        tenant_id=account.tenant_id, role__in=(Role.OWNER, Role.BILLING), user__is_active=True, user__is_service=False
    )
    addresses = [*([account.email] if account.email else []), *sorted(people.values_list("user__email", flat=True))]
    by_address = {address.lower(): address for address in reversed(addresses)}
    return [by_address[key] for key in dict.fromkeys(address.lower() for address in addresses)]
