"""Where a tenant's invoices go: its legal name, address, VAT id, mail address, and by which calendar its months are.

Invoices keep what was true when they were issued; a change counts from the next one on.
"""

import re
from collections.abc import Callable, Mapping

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from stdnum import get_cc_module

from apps.audit.services import record
from apps.billing.countries import COUNTRIES
from apps.billing.models import Account
from apps.billing.periods import is_time_zone
from apps.billing.taxes.rules import PREFIXES, in_eu
from apps.billing.terms.accounts import account_of
from apps.billing.usage.rollups import forget_rollups
from apps.common.errors import InvalidInput
from apps.tenants.context import Access
from apps.tenants.roles import Permission

LONGEST_NAME, LONGEST_ADDRESS, MOST_LINES, LONGEST_VAT_ID, LONGEST_EMAIL = 200, 500, 8, 20, 254
CHECKED_OUTSIDE_EU = ("CH", "GB", "NO")
"""Countries outside the European Union whose ids for VAT are as well known as those inside."""
FIELDS = ("legal_name", "address", "country", "vat_id", "email", "time_zone")


def details_of(*, access: Access) -> Account:
    """Return how the tenant is billed."""
    access.require(Permission.BILLING_READ)
    return account_of(tenant=access.tenant)


def change_details(*, access: Access, values: Mapping[str, object]) -> Account:
    """Change some of FIELDS and return the account; those not named stay. An empty text takes a detail away, except the time zone.

    Raises InvalidInput naming every field at fault.
    """
    access.require(Permission.BILLING_MANAGE)
    account_of(tenant=access.tenant)
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(tenant=access.tenant)
        before = {name: getattr(account, name) for name in FIELDS}
        after = _checked(values=values, before=before)
        news = {name: value for name, value in after.items() if value != before[name]}
        if news:
            for name, value in news.items():
                setattr(account, name, value)
            account.save(update_fields=list(news))
            if "time_zone" in news:  # sums are by day, and days begin at another moment now
                forget_rollups(account=account)
            record(
                by=access.actor,
                action="billing.details_changed",
                sentence=f"changed the billing details: {', '.join(name.replace('_', ' ') for name in news)}",
                tenant_id=access.tenant.id,
                target_id=str(access.tenant.id),
                target_label=access.tenant.slug,
                data={"from": {name: before[name] for name in news}, "to": news},
            )
    return account


def _checked(*, values: Mapping[str, object], before: Mapping[str, str]) -> dict[str, str]:
    """Return all details as they shall be, checked one by one and the VAT id against the country."""
    faults: dict[str, str] = {}
    after = dict(before)
    for name, value in values.items():
        check = CHECKS.get(name)
        try:
            if check is None:
                raise ValueError(f"There is no detail “{str(name)[:40]}”; known are: {', '.join(FIELDS)}.")  # noqa: TRY301 - as the others
            after[name] = check(_text(name, value))
        except ValueError as error:
            faults[str(name)[:40]] = str(error)
    if not faults and (after["vat_id"], after["country"]) != (before["vat_id"], before["country"]):
        try:
            after["vat_id"] = vat_id(text=after["vat_id"], country=after["country"])
        except ValueError as error:
            faults["vat_id"] = str(error)
    if faults:
        raise InvalidInput(next(iter(faults.values())), errors=faults)
    return after


def vat_id(*, text: str, country: str) -> str:
    """Return a VAT id as it is written on invoices. Raises ValueError with a sentence for one that the country cannot have given.

    Form and check digits are python-stdnum's (https://arthurdejong.org/python-stdnum/); whether it is in use only its country knows.
    """
    if not text:
        return ""
    if not country:
        raise ValueError("Choose the country too: a VAT id is one of a country.")
    plain = re.sub(r"[\s.\-]", "", text).upper()
    if in_eu(country=country):
        prefix = PREFIXES.get(country, country)
        if not plain.startswith(prefix):
            raise ValueError(f"A VAT id of {COUNTRIES[country]} begins with {prefix}.")
        if not _is_valid(country, plain):
            raise ValueError(f"This is no VAT id of {COUNTRIES[country]}: a digit is wrong or missing.")
        return plain
    if not re.fullmatch(r"[A-Z0-9/]{2,20}", plain):
        raise ValueError(f"A VAT or tax id has 2 to {LONGEST_VAT_ID} letters and digits.")
    if country in CHECKED_OUTSIDE_EU and not _is_valid(country, plain):
        raise ValueError(f"This is no VAT or tax id of {COUNTRIES[country]}: a digit is wrong or missing.")
    return plain


def _is_valid(country: str, plain: str) -> bool:
    module = get_cc_module(country.lower(), "vat")
    return module is not None and module.is_valid(plain)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"The {name} must be text.")  # noqa: TRY004 - becomes a sentence beside the field
    text = value.replace("\r\n", "\n").strip()
    if not all(line.isprintable() for line in text.split("\n")):
        raise ValueError(f"The {name.replace('_', ' ')} may hold printable characters only.")
    return text


def _legal_name(text: str) -> str:
    name = " ".join(text.split())
    if len(name) > LONGEST_NAME:
        raise ValueError(f"The name may have at most {LONGEST_NAME} characters; these are {len(name)}.")
    return name


def _address(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.split("\n")]
    lines = [line for line in lines if line]
    if len(lines) > MOST_LINES or len("\n".join(lines)) > LONGEST_ADDRESS:
        raise ValueError(f"The address may have at most {MOST_LINES} lines and {LONGEST_ADDRESS} characters.")
    return "\n".join(lines)


def _country(text: str) -> str:
    code = text.upper()
    if code and code not in COUNTRIES:
        raise ValueError(f"There is no country “{text[:10]}”; send its two letters of ISO 3166, such as DE, or nothing.")
    return code


def _one_line(text: str) -> str:
    if len(text) > LONGEST_VAT_ID * 2 or "\n" in text:
        raise ValueError(f"A VAT or tax id has 2 to {LONGEST_VAT_ID} letters and digits.")
    return text


def _email(text: str) -> str:
    if not text:
        return ""
    try:
        validate_email(text)
    except ValidationError:
        raise ValueError("This is no e-mail address; one looks like bills@example.com.") from None
    if len(text) > LONGEST_EMAIL:
        raise ValueError(f"An e-mail address has at most {LONGEST_EMAIL} characters.")
    return text


def _time_zone(text: str) -> str:
    if not is_time_zone(name=text):
        raise ValueError(f"There is no time zone “{text[:40]}”; one looks like Europe/Berlin or UTC.")
    return text


CHECKS: dict[str, Callable[[str], str]] = {
    "legal_name": _legal_name,
    "address": _address,
    "country": _country,
    "vat_id": _one_line,
    "email": _email,
    "time_zone": _time_zone,
}
