"""Usage of a tenant over REST: sums by day, bay, flavor, cloud, member or tag, the forecast of the month, and files."""

from fractions import Fraction
from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import AnyType, TenantView
from apps.billing.models import Account
from apps.billing.periods import HOUR, local_day
from apps.billing.prices.book import price_book
from apps.billing.terms.accounts import account_of
from apps.billing.usage.breakdowns import GROUPS, Breakdown, Part, breakdown, parse_group, rated_months
from apps.billing.usage.date_ranges import PARAMETERS, DateRange, parse_range
from apps.billing.usage.exports import decimal_text
from apps.billing.usage.files import usage_file_of
from apps.billing.usage.spend import Spend, month_so_far
from apps.common.clock import now
from apps.tenants.roles import Permission

RANGE = [OpenApiParameter(name=name, type=OpenApiTypes.DATE, description=words) for name, words in PARAMETERS.items()]
GROUP = OpenApiParameter(
    name="group_by",
    type=OpenApiTypes.STR,
    description=f"What a row is: {', '.join(GROUPS)}, or tag: and the key of a tag, such as tag:team. Default: day.",
)


class UsageRowSerializer(serializers.Serializer[Any]):
    """One part of the usage."""

    key = serializers.CharField(help_text="A day, the id of a bay, the name of a flavor or cloud, an e-mail address, the value of a tag.")
    label = serializers.CharField(help_text="The same for people: the name of a bay.")  # type: ignore[assignment]  # as elsewhere
    host_seconds = serializers.IntegerField()
    host_hours = serializers.DecimalField(max_digits=20, decimal_places=8)
    amount = serializers.DecimalField(max_digits=14, decimal_places=3, help_text="Before plan, credit and tax; rows add up to the total.")


class UsageTotalSerializer(serializers.Serializer[Any]):
    """All of it."""

    host_seconds = serializers.IntegerField()
    host_hours = serializers.DecimalField(max_digits=20, decimal_places=8)
    host_seconds_without_price = serializers.IntegerField(help_text="Those of them that had no price, which are not billed.")
    amount = serializers.DecimalField(max_digits=14, decimal_places=3)


class AdjustmentSerializer(serializers.Serializer[Any]):
    """What the plan changes."""

    kind = serializers.CharField(help_text="discount, allowance or commitment.")
    text = serializers.CharField()
    amount = serializers.DecimalField(max_digits=14, decimal_places=3, help_text="Negative where it is taken off.")


class ForecastSerializer(serializers.Serializer[Any]):
    """The present month."""

    month = serializers.CharField(help_text="Such as 2027-01.")
    adjustments = AdjustmentSerializer(many=True, help_text="What the plan changed so far.")
    spent = serializers.DecimalField(max_digits=14, decimal_places=3, help_text="So far: usage and adjustments, before credit and tax.")
    forecast = serializers.DecimalField(max_digits=14, decimal_places=3, help_text="At the month's end, if what runs now runs on.")


class BilledUsageSerializer(serializers.Serializer[Any]):
    """Usage of some days."""

    currency = serializers.CharField()
    time_zone = serializers.CharField(help_text="Whose days these are.")
    group_by = serializers.CharField()
    total = UsageTotalSerializer()
    rows = UsageRowSerializer(many=True)
    this_month = ForecastSerializer()

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; `from` is a word of Python, so it cannot stand above."""
        days = {"from": serializers.DateField(), "to": serializers.DateField(help_text="The first day that is left out.")}
        return {**days, **super().get_fields()}


class UsageEntrySerializer(serializers.Serializer[Any]):
    """What hosts of a flavor on a cloud were used in a bay on a day under one price; decimal numbers are text, exact to eight decimals."""

    day = serializers.DateField()
    bay = serializers.CharField()
    bay_id = serializers.UUIDField()
    created_by = serializers.CharField()
    tags = serializers.DictField(child=serializers.CharField())
    cloud = serializers.CharField()
    flavor = serializers.CharField()
    host_seconds = serializers.IntegerField()
    host_hours = serializers.CharField()
    price_per_hour = serializers.CharField(help_text="What an hour comes to, tiers spread over the month; empty where there was no price.")
    amount = serializers.CharField(help_text="Empty where there was no price.")
    currency = serializers.CharField()


class UsageView(TenantView):
    """A view of usage."""

    tag: ClassVar[str] = "Billing"
    needs: ClassVar = {"GET": Permission.BILLING_READ}
    also_answers: ClassVar = ("409", "422")

    def account(self) -> Account:
        """Return the tenant's account."""
        found = account_of(tenant=self.access.tenant)
        found.tenant = self.access.tenant
        return found


class Usage(UsageView):
    """What a tenant used."""

    @extend_schema(
        operation_id="read_usage", summary="Read usage and spend", parameters=[*RANGE, GROUP], responses={200: BilledUsageSerializer}
    )
    def get(self, request: Request, **_: str) -> Response:
        """Usage of some days, taken apart; for owners, admins and billing. What runs now counts until now."""
        moment, account = now(), self.account()
        days = parse_range(parameters=request.query_params.dict(), zone=account.time_zone, at=moment)
        group = parse_group(text=request.query_params.get("group_by", "day").strip())
        months = rated_months(account=account, period=days.period, as_of=moment, book=price_book(currency=account.currency))
        found = breakdown(account=account, months=months, group=group)
        return Response(answer(account=account, days=days, group=group, found=found, spend=month_so_far(account=account, at=moment)))


def answer(*, account: Account, days: DateRange, group: str, found: Breakdown, spend: Spend) -> dict[str, Any]:
    """Return usage as the API shows it."""
    return {
        "from": f"{days.first:%Y-%m-%d}",
        "to": f"{days.end:%Y-%m-%d}",
        "currency": account.currency,
        "time_zone": account.time_zone,
        "group_by": group,
        "total": {
            "host_seconds": found.seconds,
            "host_hours": _hours(found.seconds),
            "host_seconds_without_price": found.unpriced,
            "amount": str(found.total),
        },
        "rows": [_row(part) for part in found.parts],
        "this_month": {
            "month": f"{local_day(at=spend.period.start, zone=account.time_zone):%Y-%m}",
            "adjustments": [{"kind": each.kind, "text": each.text, "amount": str(each.amount)} for each in spend.bill.adjustments],
            "spent": str(spend.spent),
            "forecast": str(spend.forecast),
        },
    }


def _row(part: Part) -> dict[str, Any]:
    return {
        "key": part.key,
        "label": part.label,
        "host_seconds": part.seconds,
        "host_hours": _hours(part.seconds),
        "amount": str(part.amount),
    }


def _hours(seconds: int) -> str:
    return decimal_text(exact=Fraction(seconds, HOUR))


class UsageFile(UsageView):
    """Usage as a file."""

    content_negotiation_class = AnyType

    def file(self, request: Request, kind: str) -> HttpResponseBase:
        """Return the file, written while it is sent."""
        return usage_file_of(account=self.account(), parameters=request.query_params.dict(), kind=kind)


class UsageCsv(UsageFile):
    """Usage as CSV."""

    @extend_schema(
        operation_id="download_usage_csv", summary="Download usage as CSV", parameters=RANGE,
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> HttpResponseBase:
        """A line for each day, bay, cloud, flavor and price, amounts exact to eight decimals."""
        return self.file(request, "csv")


class UsageJson(UsageFile):
    """Usage as JSON."""

    @extend_schema(
        operation_id="download_usage_json", summary="Download usage as JSON", parameters=RANGE,
        responses={200: UsageEntrySerializer(many=True)},
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> HttpResponseBase:
        """The same as the CSV, as one list of objects."""
        return self.file(request, "json")


class UsageFocus(UsageFile):
    """Usage for tools that compare clouds."""

    @extend_schema(
        operation_id="download_usage_focus", summary="Download usage in the FOCUS 1.2 format", parameters=RANGE,
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> HttpResponseBase:
        """The columns of the FinOps Open Cost and Usage Specification 1.2 as CSV, with the plan's discount in the costs."""
        return self.file(request, "focus.csv")
