"""Usage in the FinOps Open Cost and Usage Specification (FOCUS) 1.2, which tools that compare clouds read: https://focus.finops.org/

All mandatory columns are there, and the conditional ones that mean something here. One row for each day, bay, cloud, flavor and price,
with the plan's discount in its costs; then for each whole month what the plan gives (a credit) or asks for (an adjustment). Costs are
before promotions and tax, exact, and sum to the net of the invoice but for its rounding.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any

from apps.billing.models import Account, InvoiceLine
from apps.billing.periods import HOUR, Period, midnight
from apps.billing.terms.accounts import default_issuer
from apps.billing.usage.date_ranges import DateRange
from apps.billing.usage.exports import Row, cell, decimal_text, line, usage_rows
from apps.billing.usage.rating import Adjustment
from apps.billing.usage.spend import spend_of, terms_of

COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName",
    "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "Tags",
)  # fmt: skip
DECIMALS = 12
NOTHING = Fraction(0)
Values = Mapping[str, Any]


def as_focus_csv(*, account: Account, days: DateRange, as_of: datetime) -> Iterator[str]:
    """Yield the usage of the days, up to `as_of`, as CSV with a header line; empty cells are nulls."""
    yield line(cells=COLUMNS)
    always = _always(account)
    for month, rows in groupby(usage_rows(account=account, days=days, as_of=as_of), key=lambda row: row.month):
        share = _share_to_pay(account, month)
        for row in rows:
            yield _line(always, _usage(row, account, share))
        yield from (_line(always, values) for values in _adjustments(account, month, days, as_of))


def _line(always: Values, values: Values) -> str:
    row = {**always, **values}
    return line(cells=[cell(value=row.get(name)) for name in COLUMNS])


def _always(account: Account) -> Values:
    issuer = default_issuer().legal_name
    return {
        "BillingAccountId": str(account.tenant_id),
        "BillingAccountName": account.tenant.name,
        "BillingCurrency": account.currency,
        "InvoiceIssuerName": issuer,
        "ProviderName": issuer,
        "PublisherName": issuer,
        "ServiceCategory": "Compute",
        "ServiceName": "Container hosts",
        "ServiceSubcategory": "Containers",
    }


def _usage(row: Row, account: Account, share: Fraction) -> Values:
    per_hour, hours = row.per_hour or NOTHING, Fraction(row.used.seconds, HOUR)
    listed = Fraction(row.rate.per_hour) if row.rate else NOTHING
    cost = _number(per_hour * share * hours)
    return {
        "BilledCost": cost,
        "BillingPeriodStart": _moment(row.month.start),
        "BillingPeriodEnd": _moment(row.month.end),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"Hosts {row.flavor.name} of bay {row.bay.name} on {row.cloud.name}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _moment(midnight(day=row.day, zone=account.time_zone)),
        "ChargePeriodEnd": _moment(midnight(day=row.day + timedelta(days=1), zone=account.time_zone)),
        "ConsumedQuantity": row.used.seconds,
        "ConsumedUnit": "Seconds",
        "ContractedCost": cost,
        "ContractedUnitPrice": _number(per_hour * share),
        "EffectiveCost": cost,
        "ListCost": _number(listed * hours),
        "ListUnitPrice": _number(listed),
        "PricingCategory": "Standard" if row.rate else "Other",
        "PricingQuantity": _number(hours),
        "PricingUnit": "Hours",
        "RegionId": row.cloud.name,
        "RegionName": row.cloud.title,
        "ResourceId": str(row.bay.id),
        "ResourceName": row.bay.name,
        "ResourceType": "Bay",
        "SkuId": str(row.flavor.id),
        "SkuMeter": "Compute Usage",
        "SkuPriceDetails": _details(row) if row.rate else None,
        "SkuPriceId": str(row.rate.id) if row.rate else None,
        "Tags": json.dumps(row.bay.tags, ensure_ascii=False),
    }


def _details(row: Row) -> str:
    flavor = row.flavor
    sizes = {"CoreCount": flavor.vcpus, "MemorySize": flavor.memory_mib / 1024, "DiskSpace": flavor.disk_gib, "InstanceType": flavor.name}
    return json.dumps(sizes, ensure_ascii=False)


def _share_to_pay(account: Account, month: Period) -> Fraction:
    """Return what of the price is to be paid after the plan's discount, which FOCUS wants in every row and not in one of its own."""
    return 1 - Fraction(terms_of(account=account, period=month).discount_percent) / 100


def _adjustments(account: Account, month: Period, days: DateRange, as_of: datetime) -> Iterator[Values]:
    asked = days.period
    if asked.start > month.start or asked.end < month.cut(until=as_of).end:
        return  # what a plan gives for a month has no meaning for a part of one
    for each in spend_of(account=account, period=month, as_of=as_of).adjustments:
        if each.kind != InvoiceLine.Kind.DISCOUNT:
            yield _adjustment(each, month)


def _adjustment(adjustment: Adjustment, month: Period) -> Values:
    cost = Decimal(adjustment.amount)
    period = {"Start": _moment(month.start), "End": _moment(month.end)}
    return {
        **{f"BillingPeriod{edge}": moment for edge, moment in period.items()},
        **{f"ChargePeriod{edge}": moment for edge, moment in period.items()},
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost),
        "ChargeCategory": "Credit" if cost < 0 else "Adjustment",
        "ChargeDescription": adjustment.text,
        "ChargeFrequency": "Recurring",
    }


def _number(exact: Fraction) -> Decimal:
    return Decimal(decimal_text(exact=exact, decimals=DECIMALS))


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
