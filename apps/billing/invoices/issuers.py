"""Who writes the invoices. What an invoice says of its issuer is copied into it, so a change counts for invoices to come only."""

import re
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from apps.audit.services import Actor, record
from apps.billing.countries import COUNTRIES
from apps.billing.models import Issuer
from apps.billing.operators import require_operator
from apps.billing.terms.accounts import default_issuer
from apps.common.errors import InvalidInput, NotFound

CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
LONGEST = {"legal_name": 200, "address": 500, "vat_id": 20, "email": 254, "payment_text": 1000}
MOST_DAYS = 180
FIELDS = ("legal_name", "address", "country", "vat_id", "email", "payment_text", "payment_days")


def set_issuer(
    *,
    by: Actor,
    code: str,
    legal_name: str,
    address: str = "",
    country: str = "",
    vat_id: str = "",
    email: str = "",
    payment_text: str = "",
    payment_days: int = 14,
) -> Issuer:
    """Make the issuer with that code, or change it, and return it. `payment_text` says how to pay, `payment_days` until when.

    Raises Forbidden for those who are no operators, InvalidInput naming every field at fault.
    """
    require_operator(by=by)
    texts = {"legal_name": legal_name, "address": address, "vat_id": vat_id.replace(" ", "").upper(), "email": email,
             "payment_text": payment_text}  # fmt: skip
    texts = {field: text.replace("\r\n", "\n").strip() for field, text in texts.items()}
    _check(code=code, country=country, payment_days=payment_days, texts=texts)
    values: dict[str, object] = {**texts, "country": country, "payment_days": payment_days}
    with transaction.atomic():
        default_issuer()  # there is always one, and the first is the default
        issuer = Issuer.objects.select_for_update(no_key=True).filter(code=code).first()
        before = {field: getattr(issuer, field) for field in FIELDS} if issuer is not None else {}
        if before == values and issuer is not None:
            return issuer
        issuer, made = Issuer.objects.update_or_create(code=code, defaults=values)
        changed = [field for field in FIELDS if before.get(field) != values[field]]
        record(
            by=by,
            action="issuer.created" if made else "issuer.changed",
            sentence=f"made {legal_name} ({code}) an issuer of invoices"
            if made
            else f"changed the issuer {legal_name} ({code}): {', '.join(field.replace('_', ' ') for field in changed)}",
            tenant_id=None,
            target_id=str(issuer.id),
            target_label=code,
            data={"from": {field: before.get(field) for field in changed}, "to": {field: values[field] for field in changed}},
        )
    return issuer


def make_default_issuer(*, by: Actor, issuer_id: UUID) -> Issuer:
    """Let invoices to come be written by an issuer, and return it. The same again changes nothing.

    Raises Forbidden for those who are no operators, NotFound for unknown issuers.
    """
    require_operator(by=by)
    with transaction.atomic():
        before = default_issuer()
        issuer = Issuer.objects.select_for_update(no_key=True).filter(id=issuer_id).first()
        if issuer is None:
            raise NotFound("There is no such issuer.")
        if issuer.is_default:
            return issuer
        Issuer.objects.filter(is_default=True).update(is_default=False)
        issuer.is_default = True
        issuer.save(update_fields=["is_default"])
        record(
            by=by,
            action="issuer.made_default",
            sentence=f"let {issuer.legal_name} ({issuer.code}) write the invoices from now on, in place of {before.legal_name}",
            tenant_id=None,
            target_id=str(issuer.id),
            target_label=issuer.code,
            data={"from": before.code, "to": issuer.code},
        )
    return issuer


def _check(*, code: str, country: str, payment_days: int, texts: dict[str, str]) -> None:
    faults = {
        field: f"At most {longest} characters, without control characters."
        for field, longest in LONGEST.items()
        if len(texts[field]) > longest or not texts[field].replace("\n", "").isprintable()
    }
    if not CODE.fullmatch(code):
        faults["code"] = "The code is at most 16 lower-case letters, digits and hyphens, and begins with no hyphen."
    if not texts["legal_name"]:
        faults["legal_name"] = "An invoice names who writes it."
    if country and country not in COUNTRIES:
        faults["country"] = "Choose a country."
    if not 0 <= payment_days <= MOST_DAYS:
        faults["payment_days"] = f"Invoices are due after 0 to {MOST_DAYS} days."
    if texts["email"]:
        try:
            validate_email(texts["email"])
        except ValidationError:
            faults["email"] = "Write an e-mail address such as billing@example.com."
    if faults:
        raise InvalidInput(next(iter(faults.values())), errors=faults)
