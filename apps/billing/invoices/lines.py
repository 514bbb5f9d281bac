"""Lines about usage, as people read them: what was used, of which size, where; always in the same order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from apps.billing.invoices.books import Books
from apps.billing.models import InvoiceLine
from apps.billing.periods import HOUR
from apps.billing.usage.measured import Used
from apps.billing.usage.rating import Bill, Charge

Kind = InvoiceLine.Kind
LONGEST_TEXT = 300
CENT = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class DraftLine:
    """A line as it will be written; see `InvoiceLine`. Only lines about usage say of what."""

    kind: str
    text: str
    amount: Decimal
    bay_id: UUID | None = None
    cloud_id: UUID | None = None
    flavor_id: UUID | None = None
    price_id: int | None = None
    seconds: int | None = None
    per_hour: Decimal | None = None
    used_from: datetime | None = None


def usage_lines(*, found: Bill, used_from: datetime, books: Books) -> list[DraftLine]:
    """Return a line for each charge of a bill, by the names of bay, cloud and flavor."""
    names = names_of(used=[charge.used for charge in found.charges], books=books)
    rows = sorted(zip(found.charges, found.amounts, strict=True), key=lambda row: by_name(row[0].used, names))
    return [
        line_of(
            kind=Kind.USAGE, text=text_of(charge=charge, names=names), used=charge.used, charge=charge, amount=amount, used_from=used_from
        )
        for charge, amount in rows
    ]


def names_of(*, used: Iterable[Used], books: Books) -> dict[UUID, str]:
    """Return what the bays, clouds and flavors of usage are called."""
    rows = list(used)
    return books.names(bays={row.bay_id for row in rows}, clouds={row.cloud_id for row in rows}, flavors={row.flavor_id for row in rows})


def by_name(used: Used, names: Mapping[UUID, str]) -> tuple[str, UUID, str, str, int]:
    """Return what usage is sorted by on paper."""
    return names.get(used.bay_id, ""), used.bay_id, names[used.cloud_id], names[used.flavor_id], used.price_id or 0


def line_of(*, kind: str, text: str, used: Used, charge: Charge, amount: Decimal, used_from: datetime) -> DraftLine:
    """Return the line about so much usage under the charge's price."""
    return DraftLine(
        kind=kind, text=text[:LONGEST_TEXT], amount=amount, bay_id=used.bay_id, cloud_id=used.cloud_id, flavor_id=used.flavor_id,
        price_id=charge.rate.id, seconds=used.seconds, per_hour=charge.rate.per_hour, used_from=used_from,
    )  # fmt: skip


def text_of(*, charge: Charge, names: Mapping[UUID, str], seconds: int | None = None) -> str:
    """Return what was used, for people: “web: 744.00 host-hours of c1.small on local”."""
    used = charge.used
    tiers = ", by tiers" if charge.rate.tiers else ""
    hours = hours_in_words(seconds=used.seconds if seconds is None else seconds)
    return f"{names.get(used.bay_id, 'a bay')}: {hours} host-hours of {names[used.flavor_id]} on {names[used.cloud_id]}{tiers}"


def hours_in_words(*, seconds: int) -> str:
    """Return seconds as hours with two decimals; with four where those would all be zero."""
    hours = Decimal(abs(seconds)) / HOUR
    step = CENT if hours >= CENT or not seconds else CENT * CENT
    sign = "\N{MINUS SIGN}" if seconds < 0 else ""
    return f"{sign}{hours.quantize(step, rounding=ROUND_HALF_UP):,f}"
