"""Credentials of a bay over REST: the bundle, signed requests, what was issued, and the authority's certificate."""

from typing import Any, ClassVar

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.models import User
from apps.bays.access import authority_pem, client_certificates, issue_bundle, sign_request
from apps.bays.api.base import AnyType, TenantView, as_file
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.spec import parse_text, refuse_unknown
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.credentials.models import Certificate
from apps.tenants.roles import Permission

ZIP, PEM = "application/zip", "application/x-pem-file"


class LabelSerializer(serializers.Serializer[Any]):
    """What the list of certificates shows."""

    label = serializers.CharField(  # type: ignore[assignment]  # a field of this name hides nothing: declared fields are taken off the class
        required=False, max_length=80, help_text="What it is for; your e-mail address unless given."
    )


class SigningRequestSerializer(LabelSerializer):
    """A certificate signing request."""

    csr = serializers.CharField(help_text="PEM text: EC P-256, P-384 or P-521, Ed25519, or RSA from 2048 bits.")


class SignedSerializer(serializers.Serializer[Any]):
    """A certificate for the key you kept."""

    id = serializers.UUIDField()
    serial = serializers.CharField()
    expires_at = serializers.DateTimeField()
    certificate = serializers.CharField(help_text="PEM text.")
    ca = serializers.CharField(help_text="PEM text of the bay's authority.")


class CertificateSerializer(serializers.ModelSerializer[Certificate]):
    """A client certificate that was issued; its key is nowhere in the portal."""

    owner: "serializers.SlugRelatedField[User]" = serializers.SlugRelatedField(slug_field="email", read_only=True, allow_null=True)
    label = serializers.CharField(source="owner_label")  # type: ignore[assignment]

    class Meta:
        model = Certificate
        fields = ("id", "serial", "subject", "owner", "label", "issued_at", "expires_at", "revoked_at")


class CredentialsView(TenantView):
    """A view of a bay's credentials."""

    tag: ClassVar[str] = "Credentials"


class BayBundle(CredentialsView):
    """The credential zip."""

    needs: ClassVar = {"POST": Permission.BAY_ACCESS}
    content_negotiation_class = AnyType

    @extend_schema(
        operation_id="download_bundle", summary="Download the credential zip", request=LabelSerializer,
        responses={(200, ZIP): OpenApiResponse(OpenApiTypes.BINARY, "ca.pem, cert.pem, key.pem, and the scripts for every shell.")},
        description="Issues a client certificate to you. Its key is made for this answer and kept nowhere.",
    )  # fmt: skip
    @idempotent(keeps_answer=False)
    def post(self, request: Request, *, bay: str, **_: str) -> HttpResponseBase:
        """Return the zip with which docker on your own machine uses the bay."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("label",))
        bundle = issue_bundle(access=self.access, reference=bay, label=parse_text("label", body.get("label", "")))
        return as_file(response=HttpResponse(bundle.content, content_type=ZIP), name=bundle.file_name)


class BayCertificates(CredentialsView):
    """Client certificates of a bay."""

    needs: ClassVar = {"GET": Permission.BAY_READ, "POST": Permission.BAY_ACCESS}

    @extend_schema(
        operation_id="list_certificates",
        summary="List the client certificates of a bay",
        parameters=PAGING,
        responses={200: page_of(CertificateSerializer)},
    )
    def get(self, request: Request, *, bay: str, **_: str) -> Response:
        """Newest first, whoever owns them."""
        pages = NewestFirst(moment="issued_at")
        page = pages.paginate_queryset(client_certificates(access=self.access, reference=bay).select_related("owner"), request)
        return pages.get_paginated_response(CertificateSerializer(page, many=True).data)

    @extend_schema(
        operation_id="sign_request", summary="Have your own key certified",
        request=SigningRequestSerializer, responses={201: SignedSerializer},
        description="Send a certificate signing request; the private key never leaves you.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, *, bay: str, **_: str) -> HttpResponseBase:
        """Return a client certificate for the key of the request."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("csr", "label"))
        label = parse_text("label", body.get("label", ""))
        issued = sign_request(access=self.access, reference=bay, csr_pem=body.get("csr"), label=label)
        signed = {
            "id": issued.record.id, "serial": issued.record.serial, "expires_at": issued.record.expires_at,
            "certificate": issued.certificate_pem.decode(), "ca": issued.ca_pem.decode(),
        }  # fmt: skip
        return Response(SignedSerializer(signed).data, status=201)


class BayAuthority(CredentialsView):
    """The authority of a bay."""

    needs: ClassVar = {"GET": Permission.BAY_READ}
    content_negotiation_class = AnyType

    @extend_schema(
        operation_id="read_ca",
        summary="Download the bay's CA certificate",
        responses={(200, PEM): OpenApiResponse(OpenApiTypes.STR, "PEM text.")},
    )
    def get(self, request: Request, *, bay: str, **_: str) -> HttpResponseBase:
        """Return ca.pem, with which clients check whom they speak to."""
        pem = authority_pem(access=self.access, reference=bay)
        return as_file(response=HttpResponse(pem, content_type=PEM), name="ca.pem")
