"""Who sells and who buys, as it is kept with an invoice: what they were called and where they were on the day it was issued."""

from apps.billing.models import Account, Issuer


def seller_of(*, issuer: Issuer) -> dict[str, object]:
    """Return what an invoice says of its issuer; `payment_text` says how to pay, `payment_days` how soon."""
    return {
        "code": issuer.code,
        "legal_name": issuer.legal_name,
        "address": issuer.address,
        "country": issuer.country,
        "vat_id": issuer.vat_id,
        "email": issuer.email,
        "payment_text": issuer.payment_text,
        "payment_days": issuer.payment_days,
    }


def customer_of(*, account: Account) -> dict[str, object]:
    """Return what an invoice says of the tenant: `legal_name` is its own name where it has given no other."""
    return {
        "tenant": account.tenant.slug,
        "name": account.tenant.name,
        "legal_name": account.legal_name or account.tenant.name,
        "address": account.address,
        "country": account.country,
        "vat_id": account.vat_id,
        "email": account.email,
    }
