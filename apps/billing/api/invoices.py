"""Invoices and billing details over REST."""

from typing import Any, ClassVar

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import AnyType, TenantView, as_file
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.spec import refuse_unknown
from apps.billing.invoices.details import FIELDS, change_details, details_of
from apps.billing.invoices.documents import SCHEMA, document_of, draft_json
from apps.billing.invoices.einvoice import as_ubl
from apps.billing.invoices.issued import current_draft, find_invoice, invoices_of, pdf_of, whole
from apps.billing.models import Account, Invoice
from apps.billing.receivables.owed import owed
from apps.billing.terms.accounts import plan_at
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.common.clock import now
from apps.common.money import rounded
from apps.tenants.roles import Permission

PDF, XML = "application/pdf", "application/xml"
NUMBER = OpenApiParameter(name="number", location=OpenApiParameter.PATH, description="The number of an invoice or a credit note.")
AMOUNT = "In units of the currency, as text."


def _amount(help_text: str = AMOUNT) -> serializers.CharField:
    return serializers.CharField(help_text=help_text)


class PeriodSerializer(serializers.Serializer[Any]):
    """The time that is billed: from its start until just before its end."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    time_zone = serializers.CharField(help_text="Whose calendar the month is of.")
    first_day = serializers.DateField()
    last_day = serializers.DateField()


class PartySerializer(serializers.Serializer[Any]):
    """Seller or customer, as they were when it was issued."""

    code = serializers.CharField(help_text="What the portal calls them; of a customer, the slug of the tenant.")
    name = serializers.CharField()
    address = serializers.CharField(help_text="Lines, without the country.")
    country = serializers.CharField(help_text="Two letters of ISO 3166, or empty.")
    vat_id = serializers.CharField()
    email = serializers.CharField()


class LineSerializer(serializers.Serializer[Any]):
    """A line. What is about no usage has null where usage says of what, and how much."""

    position = serializers.IntegerField()
    kind = serializers.CharField(help_text="usage, late (of an earlier month), allowance, discount, commitment, promotion or correction.")
    text = serializers.CharField()
    bay_id = serializers.CharField(allow_null=True)
    cloud_id = serializers.CharField(allow_null=True)
    flavor_id = serializers.CharField(allow_null=True)
    price_id = serializers.IntegerField(allow_null=True)
    seconds = serializers.IntegerField(allow_null=True, help_text="Host-seconds, exactly.")
    host_hours = serializers.CharField(allow_null=True, help_text="The same in hours, to six decimals.")
    per_hour = serializers.CharField(allow_null=True, help_text="What a host-hour costs, before tiers.")
    used_from = serializers.DateTimeField(allow_null=True, help_text="The start of the period it was used in.")
    amount = _amount()


class TaxSerializer(serializers.Serializer[Any]):
    """The tax on the net."""

    name = serializers.CharField()
    percent = serializers.CharField()
    text = serializers.CharField(help_text="What the law asks an invoice to say, such as “Reverse charge …”; or empty.")
    amount = _amount()


class PaperSerializer(serializers.Serializer[Any]):
    """What drafts, invoices and credit notes say."""

    schema = serializers.CharField(help_text=f"{SCHEMA}: fields may be added under this name, none taken away.")
    period = PeriodSerializer()
    currency = serializers.CharField()
    plan = serializers.CharField()
    seller = PartySerializer()
    customer = PartySerializer()
    lines = LineSerializer(many=True)
    net = _amount("The sum of the lines.")
    tax = TaxSerializer()
    gross = _amount("Net and tax.")
    prepaid = _amount("What prepaid credit pays; negative where an amount in your favour is added to it.")
    due = _amount("What is left to pay then.")
    payment_text = serializers.CharField()
    note = serializers.CharField()


class DraftSerializer(PaperSerializer):
    """What the next invoice says by now."""

    kind = serializers.CharField(help_text="draft.")
    as_of = serializers.DateTimeField()


class PaymentSerializer(serializers.Serializer[Any]):
    """Money that came, or went back if negative."""

    provider = serializers.CharField()
    reference = serializers.CharField()
    amount = _amount()
    received_at = serializers.DateTimeField()


class WholeInvoiceSerializer(PaperSerializer):
    """An invoice or credit note as it was issued, and what has become of it."""

    kind = serializers.CharField(help_text="invoice or credit_note; amounts of a credit note are negative.")
    number = serializers.CharField()
    corrects = serializers.CharField(allow_null=True, help_text="Of a credit note, the number of its invoice.")
    issued_at = serializers.DateTimeField()
    issued_on = serializers.DateField()
    due_on = serializers.DateField(allow_null=True)
    state = serializers.CharField(help_text="open, paid or cancelled.")
    paid = _amount("Payments and prepaid credit, by now.")
    owed = _amount("What is still to be paid, by now; negative if too much was paid.")
    credit_notes = serializers.ListField(child=serializers.CharField(), help_text="Numbers of credit notes of this invoice.")
    payments = PaymentSerializer(many=True)


class InvoiceSerializer(serializers.ModelSerializer[Invoice]):
    """An invoice or credit note of a list."""

    kind = serializers.CharField(help_text="invoice or credit_note.")
    state = serializers.CharField(help_text="open, paid or cancelled.")
    corrects = serializers.CharField(source="corrects.number", allow_null=True, default=None, help_text="Of a credit note, its invoice.")
    net = serializers.SerializerMethodField(help_text=AMOUNT)
    tax = serializers.SerializerMethodField(help_text=AMOUNT)
    gross = serializers.SerializerMethodField(help_text=AMOUNT)
    paid = serializers.SerializerMethodField(help_text=AMOUNT)
    owed = serializers.SerializerMethodField(help_text="What is still to be paid; negative if too much was paid.")

    class Meta:
        model = Invoice
        fields = (
            "number", "kind", "state", "corrects", "period_start", "period_end", "time_zone", "currency", "net", "tax", "gross", "paid",
            "owed", "issued_at", "due_on",
        )  # fmt: skip

    def get_net(self, row: Invoice) -> str:
        """Return the sum of the lines."""
        return str(rounded(amount=row.net, currency=row.currency))

    def get_tax(self, row: Invoice) -> str:
        """Return the tax."""
        return str(rounded(amount=row.tax, currency=row.currency))

    def get_gross(self, row: Invoice) -> str:
        """Return net and tax."""
        return str(rounded(amount=row.gross, currency=row.currency))

    def get_paid(self, row: Invoice) -> str:
        """Return payments and prepaid credit."""
        return str(rounded(amount=row.paid, currency=row.currency))

    def get_owed(self, row: Invoice) -> str:
        """Return what is still to be paid."""
        return str(rounded(amount=owed(invoice=row), currency=row.currency))


class ChangeDetailsSerializer(serializers.Serializer[Any]):
    """What of the billing details is changed; what is left out stays, empty text takes away."""

    legal_name = serializers.CharField(required=False, allow_blank=True, max_length=200)
    address = serializers.CharField(required=False, allow_blank=True, max_length=500, help_text="At most eight lines, without the country.")
    country = serializers.CharField(required=False, allow_blank=True, max_length=2, help_text="Two letters of ISO 3166.")
    vat_id = serializers.CharField(required=False, allow_blank=True, max_length=40, help_text="Of that country, with its letters in front.")
    email = serializers.CharField(
        required=False, allow_blank=True, max_length=254, help_text="Invoices go there, to owners and billing members."
    )
    time_zone = serializers.CharField(required=False, help_text="A name such as Europe/Berlin. Months begin and end by its clock.")


class DetailsSerializer(serializers.ModelSerializer[Account]):
    """How the tenant is billed."""

    plan = serializers.SerializerMethodField(help_text="The terms in force.")
    billed_until = serializers.DateTimeField(help_text="Where the period of the next invoice begins.")

    class Meta:
        model = Account
        fields = (*FIELDS, "currency", "plan", "billed_until")

    def get_plan(self, row: Account) -> str:
        """Return the name of the plan in force."""
        return plan_at(tenant=row.tenant, at=now()).title


class BillingView(TenantView):
    """A view of billing."""

    tag: ClassVar[str] = "Billing"
    needs: ClassVar = {"GET": Permission.BILLING_READ}


class InvoiceList(BillingView):
    """Invoices and credit notes."""

    @extend_schema(
        operation_id="list_invoices",
        summary="List invoices and credit notes",
        parameters=PAGING,
        responses={200: page_of(InvoiceSerializer)},
    )
    def get(self, request: Request, **_: str) -> Response:
        """Newest first."""
        pages = NewestFirst(moment="issued_at")
        page = pages.paginate_queryset(invoices_of(access=self.access), request)
        return pages.get_paginated_response(InvoiceSerializer(page, many=True).data)


class InvoiceDraft(BillingView):
    """The draft of the next invoice."""

    also_answers = ("409",)

    @extend_schema(
        operation_id="read_invoice_draft", summary="Read what the next invoice says by now", responses={200: DraftSerializer},
        description="By the same rules as the invoice. 409 where it cannot be computed: the sentence says why.",
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> Response:
        """Return the draft of the running month, or of the one that is over and not invoiced yet."""
        return Response(draft_json(document=current_draft(access=self.access, at=now())))


class InvoiceDetail(BillingView):
    """One invoice or credit note."""

    @extend_schema(
        operation_id="read_invoice", summary="Read an invoice or credit note", parameters=[NUMBER], responses={200: WholeInvoiceSerializer}
    )
    def get(self, request: Request, *, number: str, **_: str) -> Response:
        """Return all it says, and what has become of it."""
        return Response(whole(invoice=find_invoice(access=self.access, number=number)))


class InvoicePdf(BillingView):
    """An invoice on paper."""

    content_negotiation_class = AnyType

    @extend_schema(
        operation_id="download_invoice_pdf", summary="Download an invoice as PDF", parameters=[NUMBER],
        responses={(200, PDF): OpenApiResponse(OpenApiTypes.BINARY, "PDF/A-3; the same bytes for ever.")},
    )  # fmt: skip
    def get(self, request: Request, *, number: str, **_: str) -> HttpResponseBase:
        """Return the PDF that is kept with the invoice."""
        found = find_invoice(access=self.access, number=number)
        return as_file(response=HttpResponse(pdf_of(invoice=found), content_type=PDF), name=f"{found.number}.pdf")


class InvoiceXml(BillingView):
    """An invoice for accounting programs."""

    content_negotiation_class = AnyType
    also_answers = ("409",)

    @extend_schema(
        operation_id="download_invoice_xml", summary="Download an invoice as UBL 2.1", parameters=[NUMBER],
        responses={(200, XML): OpenApiResponse(OpenApiTypes.STR, "UBL 2.1 after EN 16931.")},
        description="409 where the standard asks for something that the invoice does not have, such as the customer's country.",
    )  # fmt: skip
    def get(self, request: Request, *, number: str, **_: str) -> HttpResponseBase:
        """Return the XML."""
        found = find_invoice(access=self.access, number=number)
        xml = as_ubl(document=document_of(invoice=found))
        return as_file(response=HttpResponse(xml, content_type=XML), name=f"{found.number}.xml")


class BillingDetails(BillingView):
    """How the tenant is billed."""

    needs: ClassVar = {"GET": Permission.BILLING_READ, "PATCH": Permission.BILLING_MANAGE}

    @extend_schema(operation_id="read_billing_details", summary="Read the billing details", responses={200: DetailsSerializer})
    def get(self, request: Request, **_: str) -> Response:
        """Return what stands on invoices, and where they go."""
        return Response(DetailsSerializer(details_of(access=self.access)).data)

    @extend_schema(
        operation_id="change_billing_details", summary="Change the billing details", request=ChangeDetailsSerializer,
        responses={200: DetailsSerializer}, description="Counts from the next invoice on: those issued keep what they say.",
        examples=[OpenApiExample("A company", value={"country": "DE", "vat_id": "DE136695976"}, request_only=True)],
    )  # fmt: skip
    def patch(self, request: Request, **_: str) -> Response:
        """Change some of them."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=FIELDS)
        return Response(DetailsSerializer(change_details(access=self.access, values=body)).data)
