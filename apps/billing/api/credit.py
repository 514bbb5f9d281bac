"""Credit over REST: what is left, and what it came from and went to."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.billing.credit.grants import GrantLeft, balance_after_spend, balance_of, grants_of
from apps.billing.terms.accounts import account_of
from apps.common.clock import now
from apps.tenants.roles import Permission


class BalanceSerializer(serializers.Serializer[Any]):
    """Credit by whose money it is."""

    promotional = serializers.DecimalField(max_digits=17, decimal_places=3, help_text="Lowers what an invoice charges, before tax.")
    prepaid = serializers.DecimalField(max_digits=17, decimal_places=3, help_text="Pays what is owed, tax included.")
    total = serializers.DecimalField(max_digits=17, decimal_places=3)


class UseSerializer(serializers.Serializer[Any]):
    """What an invoice used."""

    invoice = serializers.CharField(source="invoice.number")
    amount = serializers.DecimalField(max_digits=14, decimal_places=3)
    at = serializers.DateTimeField()


class GrantSerializer(serializers.Serializer[Any]):
    """Credit that was given or bought."""

    id = serializers.UUIDField(source="grant.id")
    kind = serializers.CharField(source="grant.kind", help_text="promotional or prepaid.")
    amount = serializers.DecimalField(source="grant.amount", max_digits=14, decimal_places=3)
    currency = serializers.CharField(source="grant.currency")
    reason = serializers.CharField(source="grant.reason")
    granted_at = serializers.DateTimeField(source="grant.granted_at")
    expires_at = serializers.DateTimeField(source="grant.expires_at", allow_null=True)
    pays_until = serializers.DateField(
        allow_null=True, help_text="Last day whose use it can pay for: of the last month that ends before it expires."
    )
    expired = serializers.BooleanField(help_text="All months it could pay for are invoiced.")
    used = serializers.DecimalField(max_digits=14, decimal_places=3)
    left = serializers.DecimalField(max_digits=14, decimal_places=3)
    uses = UseSerializer(source="grant.uses.all", many=True)


class CreditSerializer(serializers.Serializer[Any]):
    """The credit of a tenant."""

    currency = serializers.CharField()
    left = BalanceSerializer(help_text="What no invoice has used, and the next one can.")
    left_after_spend = BalanceSerializer(help_text="The same once all that was used until now is invoiced.")
    grants = GrantSerializer(many=True)


class Credit(TenantView):
    """The credit of a tenant."""

    tag: ClassVar[str] = "Billing"
    needs: ClassVar = {"GET": Permission.BILLING_READ}

    @extend_schema(operation_id="read_credit", summary="Read credit and what used it", responses={200: CreditSerializer})
    def get(self, request: Request, **_: str) -> Response:
        """Return what is left, and all grants, newest first."""
        moment = now()
        left = balance_of(tenant=self.access.tenant, at=moment)
        after = balance_after_spend(account=account_of(tenant=self.access.tenant), at=moment)
        grants: list[GrantLeft] = grants_of(access=self.access, at=moment)
        shown = {"currency": left.currency, "left": left, "left_after_spend": after, "grants": grants}
        return Response(CreditSerializer(shown).data)
