"""Invitations over REST: a tenant's open ones, and accepting one by the secret of its mail."""

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import ApiView, TenantView
from apps.bays.api.members import MemberSerializer
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.api.tenants import TenantSerializer
from apps.bays.spec import parse_text, refuse_unknown
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.common.errors import InvalidInput
from apps.tenants.acceptance import accept
from apps.tenants.invitations import DEFAULT_DAYS, MOST_DAYS, digest_of, invitation_named, invitations_of, invite, resend, revoke
from apps.tenants.models import Invitation
from apps.tenants.roles import Permission


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    """An open invitation, without the secret of its link."""

    class Meta:
        model = Invitation
        fields = ("id", "email", "role", "invited_by", "created_at", "sent_at", "expires_at")


class InviteSerializer(serializers.Serializer[Any]):
    """An invitation to be sent."""

    email = serializers.CharField(max_length=254, help_text="Where the mail goes, and whose account may accept it.")
    role = serializers.CharField(help_text="owner, admin, operator, billing or viewer.")
    expires_in_days = serializers.IntegerField(
        required=False, min_value=1, max_value=MOST_DAYS, help_text=f"{DEFAULT_DAYS} days unless given."
    )


class AcceptSerializer(serializers.Serializer[Any]):
    """The proof that the mail was read."""

    secret = serializers.CharField(help_text="The last part of the link in the mail.")


class AcceptedSerializer(serializers.Serializer[Any]):
    """What comes of accepting."""

    tenant = TenantSerializer()
    member = MemberSerializer()


class InvitationList(TenantView):
    """The open invitations of a tenant."""

    tag: ClassVar[str] = "Members"
    needs: ClassVar = {"GET": Permission.MEMBER_MANAGE, "POST": Permission.MEMBER_MANAGE}

    @extend_schema(
        operation_id="list_invitations", summary="List open invitations", parameters=PAGING, responses={200: page_of(InvitationSerializer)}
    )
    def get(self, request: Request, **_: str) -> Response:
        """Newest first, expired ones too."""
        pages = NewestFirst()
        page = pages.paginate_queryset(invitations_of(access=self.access), request)
        return pages.get_paginated_response(InvitationSerializer(page, many=True).data)

    @extend_schema(
        operation_id="invite", summary="Invite somebody", request=InviteSerializer, responses={201: InvitationSerializer},
        description="Sends a mail whose link leads to a page with a button. The answer does not tell whether the address has an account.",
        examples=[OpenApiExample("An operator", value={"email": "ann@example.com", "role": "operator"}, request_only=True)],
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Invite an address."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("email", "role", "expires_in_days"))
        days = body.get("expires_in_days", DEFAULT_DAYS)
        if not isinstance(days, int) or isinstance(days, bool):
            raise InvalidInput.field("expires_in_days", "The expires_in_days must be a whole number.", code="type")
        email, role = parse_text("email", body.get("email", "")), parse_text("role", body.get("role", ""))
        row = invite(access=self.access, email=email, role=role, days=days)
        location = f"/api/v1/tenants/{self.access.tenant.slug}/invitations/{row.id}"
        return Response(InvitationSerializer(row).data, status=201, headers={"Location": location})


class InvitationDetail(TenantView):
    """One open invitation."""

    tag: ClassVar[str] = "Members"
    needs: ClassVar = {"GET": Permission.MEMBER_MANAGE, "DELETE": Permission.MEMBER_MANAGE}

    @extend_schema(operation_id="read_invitation", summary="Read an invitation", responses={200: InvitationSerializer})
    def get(self, request: Request, *, invitation_id: UUID, **_: str) -> Response:
        """Return the invitation."""
        return Response(InvitationSerializer(invitation_named(access=self.access, invitation_id=invitation_id)).data)

    @extend_schema(
        operation_id="revoke_invitation", summary="Withdraw an invitation", responses={204: OpenApiResponse(description="Withdrawn.")}
    )
    def delete(self, request: Request, *, invitation_id: UUID, **_: str) -> Response:
        """Make its link void."""
        revoke(access=self.access, invitation_id=invitation_id)
        return Response(status=204)


class InvitationResend(TenantView):
    """Sending an invitation again."""

    tag: ClassVar[str] = "Members"
    needs: ClassVar = {"POST": Permission.MEMBER_MANAGE}

    @extend_schema(
        operation_id="resend_invitation", summary="Send an invitation again", request=None, responses={200: InvitationSerializer},
        description="With a new link, good for as long as the first one was; the old link is void.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, *, invitation_id: UUID, **_: str) -> HttpResponseBase:
        """Send a new mail."""
        refuse_unknown(data=body_of(request=request), allowed=())
        return Response(InvitationSerializer(resend(access=self.access, invitation_id=invitation_id)).data)


class InvitationAccept(ApiView):
    """Accepting an invitation."""

    tag: ClassVar[str] = "Members"
    also_answers: ClassVar = ("404",)

    @extend_schema(
        operation_id="accept_invitation", summary="Accept an invitation", request=AcceptSerializer, responses={200: AcceptedSerializer},
        description=(
            "For whoever has the invited address among their confirmed ones. Accepting twice gives the same membership. "
            "A token needs the scope tenant:manage, and stays one of its own tenant."
        ),
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request) -> HttpResponseBase:
        """Become a member."""
        self.require_of_token(Permission.TENANT_MANAGE)
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("secret",))
        member = accept(by=self.user, digest=digest_of(secret=parse_text("secret", body.get("secret", ""))))
        return Response(AcceptedSerializer({"tenant": member.tenant, "member": member}).data)
