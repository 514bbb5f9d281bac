"""Budgets over REST."""

from datetime import datetime
from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.spec import parse_text, refuse_unknown
from apps.billing.budgets.rows import BudgetMonth, BudgetRow, budget_month
from apps.billing.budgets.services import change_budget, create_budget, delete_budget, find_budget
from apps.billing.models import Budget
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import whole
from apps.common.api.parsing import body_of
from apps.common.clock import now
from apps.tenants.roles import Permission

FIELDS = ("name", "amount", "rules")
RULES_HELP = "At which share of the amount which action is taken: “mail”, “block” (no new bays, no more hosts), or one that was plugged in."


class RuleSerializer(serializers.Serializer[Any]):
    """What happens at a share of the budget."""

    percent = serializers.IntegerField(min_value=1, max_value=200)
    action = serializers.CharField(max_length=16)


class RuleStateSerializer(RuleSerializer):
    """A rule, and since when it was reached this month."""

    reached_at = serializers.DateTimeField(allow_null=True, help_text="null while it is not reached.")


class CreateBudgetSerializer(serializers.Serializer[Any]):
    """A budget to set."""

    name = serializers.CharField(max_length=40, help_text="Lower-case letters, digits and hyphens; each once.")
    amount = serializers.DecimalField(max_digits=12, decimal_places=2, help_text="A calendar month, in the account's currency.")
    rules = RuleSerializer(many=True, required=False, help_text=f"{RULES_HELP} Left out: mail at 50, 80 and 100 percent.")


class ChangeBudgetSerializer(serializers.Serializer[Any]):
    """What to change; what is left out stays."""

    name = serializers.CharField(required=False, max_length=40)
    amount = serializers.DecimalField(required=False, max_digits=12, decimal_places=2)
    rules = RuleSerializer(many=True, required=False, help_text=f"{RULES_HELP} They replace all there were.")


class BudgetSerializer(serializers.Serializer[Any]):
    """A budget, and how it stands this month. Amounts are before credit and tax."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    amount = serializers.DecimalField(max_digits=14, decimal_places=2, help_text="A calendar month.")
    currency = serializers.CharField()
    month = serializers.CharField(help_text="By the account's calendar, such as 2026-03.")
    spent = serializers.DecimalField(max_digits=17, decimal_places=3)
    forecast = serializers.DecimalField(
        max_digits=17, decimal_places=3, help_text="What will have been spent at the month's end if what runs now runs on."
    )
    left = serializers.DecimalField(max_digits=17, decimal_places=3, help_text="Negative once more was spent.")
    state = serializers.CharField(help_text="fine, tight (the forecast exceeds it), exceeded or blocks (growth is refused because of it).")
    rules = RuleStateSerializer(many=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class BudgetView(TenantView):
    """A view of budgets."""

    tag: ClassVar[str] = "Billing"

    def answer(self, *, budget: Budget, at: datetime) -> dict[str, Any]:
        """Return one budget as it stands."""
        month = budget_month(access=self.access, at=at)
        row = next(row for row in month.rows if row.budget.id == budget.id)
        return BudgetSerializer(_shown(row, month)).data


class BudgetList(BudgetView):
    """The budgets of a tenant."""

    needs: ClassVar = {"GET": Permission.BILLING_READ, "POST": Permission.BILLING_MANAGE}

    @extend_schema(operation_id="list_budgets", summary="List budgets", responses={200: page_of(BudgetSerializer)})
    def get(self, request: Request, **_: str) -> Response:
        """All of them, by name, with what was spent of each this month."""
        month = budget_month(access=self.access, at=now())
        return whole(data=BudgetSerializer([_shown(row, month) for row in month.rows], many=True).data)

    @extend_schema(
        operation_id="create_budget", summary="Set a budget", request=CreateBudgetSerializer, responses={201: BudgetSerializer},
        description="At most 20 a tenant. What it says about the month so far holds at once: a rule that is reached already acts now.",
        examples=[
            OpenApiExample(
                "Mail, then block",
                value={
                    "name": "team",
                    "amount": "250.00",
                    "rules": [{"percent": 80, "action": "mail"}, {"percent": 100, "action": "block"}],
                },
                request_only=True,
            )
        ],
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Set one."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=FIELDS)
        budget = create_budget(
            access=self.access, name=parse_text("name", body.get("name", "")), amount=body.get("amount", ""), rules=body.get("rules")
        )
        headers = {"Location": f"/api/v1/tenants/{self.access.tenant.slug}/budgets/{budget.name}"}
        return Response(self.answer(budget=budget, at=now()), status=201, headers=headers)


class BudgetDetail(BudgetView):
    """One budget, by its name or its id."""

    needs: ClassVar = {"GET": Permission.BILLING_READ, "PATCH": Permission.BILLING_MANAGE, "DELETE": Permission.BILLING_MANAGE}

    @extend_schema(operation_id="read_budget", summary="Read a budget", responses={200: BudgetSerializer})
    def get(self, request: Request, *, budget: str, **_: str) -> Response:
        """Return it with what was spent of it this month."""
        return Response(self.answer(budget=find_budget(access=self.access, reference=budget), at=now()))

    @extend_schema(
        operation_id="change_budget", summary="Change a budget", request=ChangeBudgetSerializer, responses={200: BudgetSerializer},
        description="What it then says holds at once: raising the amount lets the tenant grow again.",
    )  # fmt: skip
    def patch(self, request: Request, *, budget: str, **_: str) -> Response:
        """Change what is named."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=FIELDS)
        wish = {name: "" if body[name] is None else body[name] for name in ("amount", "rules") if name in body}
        name = parse_text("name", body["name"]) if "name" in body else None
        return Response(self.answer(budget=change_budget(access=self.access, reference=budget, name=name, **wish), at=now()))

    @extend_schema(operation_id="delete_budget", summary="Delete a budget", responses={204: None})
    def delete(self, request: Request, *, budget: str, **_: str) -> Response:
        """Delete it; what it blocked is free at once."""
        delete_budget(access=self.access, reference=budget)
        return Response(status=204)


def _shown(row: BudgetRow, month: BudgetMonth) -> dict[str, Any]:
    return {
        **{name: getattr(row.budget, name) for name in ("id", "name", "amount", "created_by", "created_at", "updated_at")},
        **{name: getattr(row, name) for name in ("spent", "forecast", "left", "state", "rules")},
        "currency": month.currency,
        "month": f"{month.first:%Y-%m}",
    }
