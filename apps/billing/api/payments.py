"""Paying over REST: where to go to pay an invoice."""

from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.spec import parse_text, refuse_unknown
from apps.billing.payments.checkout import start_payment
from apps.common.api.idempotency import idempotent
from apps.common.api.parsing import body_of
from apps.tenants.roles import Permission


class StartPaymentSerializer(serializers.Serializer[Any]):
    """How to pay."""

    provider = serializers.CharField(help_text="Who takes the money: stripe, where this portal has it.")


class PaymentPageSerializer(serializers.Serializer[Any]):
    """Where to pay."""

    url = serializers.URLField(help_text="Open it in a browser; it comes back to the invoice's page.")


class InvoicePay(TenantView):
    """Paying one invoice."""

    tag: ClassVar[str] = "Billing"
    needs: ClassVar = {"POST": Permission.BILLING_MANAGE}

    @extend_schema(
        operation_id="pay_invoice", summary="Get the address where an invoice is paid", request=StartPaymentSerializer,
        responses={200: PaymentPageSerializer},
        description="For what is still owed on it. Asked twice, it is the same payment. The invoice is paid when the provider says so.",
        examples=[OpenApiExample("By card", value={"provider": "stripe"}, request_only=True)],
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, *, number: str, **_: str) -> HttpResponseBase:
        """Begin to pay."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("provider",))
        provider = parse_text("provider", body.get("provider", ""))
        return Response({"url": start_payment(access=self.access, number=number, provider=provider)})
