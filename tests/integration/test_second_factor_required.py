"""A tenant that asks for a second factor lets nobody in who has none, by whatever door."""

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from apps.accounts.models import User
from apps.tenants.models import Tenant
from tests.factories import Api, make_tenant, make_user, owner_of, program_token, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def strict() -> Tenant:
    tenant = make_tenant("strict")
    Tenant.objects.filter(id=tenant.id).update(mfa_required=True)
    return Tenant.objects.get(id=tenant.id)


def give_factor(user: User, kind: str = Authenticator.Type.TOTP) -> None:
    Authenticator.objects.create(user=user, type=kind, data={})


def page_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_member_without_a_second_factor_is_told_what_to_do(strict: Tenant) -> None:
    answer = page_of(owner_of(strict)).get("/t/strict/bays/")
    assert answer.status_code == 403
    assert "/account/2fa/" in answer.content.decode()


def test_with_one_the_door_is_open_and_recovery_codes_alone_are_none(strict: Tenant) -> None:
    owner = owner_of(strict)
    give_factor(owner, Authenticator.Type.RECOVERY_CODES)
    assert page_of(owner).get("/t/strict/bays/").status_code == 403
    give_factor(owner)
    assert page_of(owner).get("/t/strict/bays/").status_code == 200


def test_a_token_of_somebody_without_is_refused_too_and_a_programs_is_not(strict: Tenant) -> None:
    owner = owner_of(strict)
    Tenant.objects.filter(id=strict.id).update(mfa_required=False)
    person, program = Api(token_for(strict, owner)), Api(program_token(strict))
    Tenant.objects.filter(id=strict.id).update(mfa_required=True)
    refused = person.get("tenants/strict/bays")
    assert (refused.status_code, refused.json()["code"]) == (403, "mfa_required")
    assert program.get("tenants/strict/bays").status_code == 200


def test_a_stranger_is_told_nothing_of_it(strict: Tenant) -> None:
    assert page_of(make_user()).get("/t/strict/bays/").status_code == 404
