"""Asking for a new authority of a bay, by REST and on its page: who may, when, and what is said and written down."""

import io
import zipfile

import pytest
from django.test import Client
from django.urls import reverse

from apps.audit.models import AuditEvent
from apps.bays.access import issue_bundle
from apps.bays.former_members import certificates_of_former_members
from apps.bays.models import Bay, Condition
from apps.bays.services import rotate_ca
from apps.common.errors import Conflict, Forbidden, NotFound
from apps.credentials.models import CertificateAuthority
from apps.credentials.services import retire_authority
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.models import Membership, Tenant
from apps.tenants.roles import Role
from tests.factories import access_for, api_of, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    tenant = make_tenant("demo")
    make_bay(tenant)
    return tenant


def ended() -> None:
    Operation.objects.update(state=State.FAILED, finished_at=Operation.objects.latest("created_at").created_at)


def test_it_is_accepted_over_rest_and_shows_its_progress(tenant: Tenant) -> None:
    answer = api_of(tenant).post("tenants/demo/bays/web/rotate-ca")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["operation"]["kind"]) == ("updating", "bay.rotate_ca")
    bay = Bay.objects.get()
    assert bay.next_authority is not None
    assert bay.next_authority.name.startswith("web bay CA of 20")
    row = AuditEvent.objects.latest("at")
    assert (row.action, row.target_id) == ("bay.ca_rotated", str(bay.id))


def test_a_body_is_refused_and_a_bay_that_is_busy_is_left_alone(tenant: Tenant) -> None:
    api = api_of(tenant)
    assert api.post("tenants/demo/bays/web/rotate-ca", {"now": True}).status_code in {400, 422}
    assert CertificateAuthority.objects.count() == 1
    assert api.post("tenants/demo/bays/web/rotate-ca").status_code == 202
    again = api.post("tenants/demo/bays/web/rotate-ca")
    assert (again.status_code, again.json()["code"]) == (409, "bay_busy")
    assert "given a new certificate authority" in again.json()["detail"]
    assert api.post("tenants/demo/bays/web/heal").status_code == 409
    assert CertificateAuthority.objects.count() == 2


def test_a_bay_that_was_never_ready_has_nothing_to_replace(tenant: Tenant) -> None:
    make_bay(tenant, "early", active=False)
    ended()
    with pytest.raises(Conflict, match="never ready"):
        rotate_ca(access=access_for(tenant), reference="early")


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.OWNER, Role.ADMIN, Role.OPERATOR}])
def test_a_role_that_may_not_change_bays_is_refused(tenant: Tenant, role: Role) -> None:
    member = make_user()
    join(tenant, member, role=role)
    with pytest.raises(Forbidden):
        rotate_ca(access=access_for(tenant, member), reference="web")
    assert api_of(tenant, member).post("tenants/demo/bays/web/rotate-ca").status_code == 403
    assert CertificateAuthority.objects.count() == 1


def test_a_stranger_finds_nothing(tenant: Tenant) -> None:
    other = make_tenant("other")
    assert api_of(other).post("tenants/demo/bays/web/rotate-ca").status_code == 404
    assert api_of(other).post("tenants/other/bays/web/rotate-ca").status_code == 404
    with pytest.raises(NotFound):
        rotate_ca(access=access_for(other), reference=str(Bay.objects.get().id))
    assert not Operation.objects.filter(kind="bay.rotate_ca").exists()


def test_one_given_up_half_way_is_taken_up_and_not_begun_anew(tenant: Tenant) -> None:
    access = access_for(tenant)
    rotate_ca(access=access, reference="web")
    begun = Bay.objects.get().next_authority_id
    ended()
    rotate_ca(access=access, reference="web")
    assert Bay.objects.get().next_authority_id == begun
    ended()
    bay = Bay.objects.get()
    bay.former_authority, bay.authority, bay.next_authority = bay.authority, bay.next_authority, None
    bay.save()
    assert rotate_ca(access=access, reference="web").next_authority is None, "the former authority is retired first"
    assert CertificateAuthority.objects.count() == 2


def test_no_certificate_is_issued_that_would_be_worthless_in_a_moment(tenant: Tenant) -> None:
    access = access_for(tenant)
    rotate_ca(access=access, reference="web")
    with pytest.raises(Conflict, match="try again in a moment"):
        issue_bundle(access=access, reference="web")
    ended()
    bundle = zipfile.ZipFile(io.BytesIO(issue_bundle(access=access, reference="web").content))
    assert bundle.read("web/ca.pem").count(b"BEGIN CERTIFICATE") == 2, "half-way, hosts serve with certificates of either authority"
    assert api_of(tenant).get("tenants/demo/bays/web/ca.pem").content.count(b"BEGIN CERTIFICATE") == 2


def test_what_former_members_hold_is_off_the_list_once_their_authority_is_retired(tenant: Tenant) -> None:
    access, leaver = access_for(tenant), make_user("leaver@example.com")
    join(tenant, leaver, role=Role.OPERATOR)
    issue_bundle(access=access_for(tenant, leaver), reference="web")
    Membership.objects.filter(user=leaver).delete()
    assert [held.holder for held in certificates_of_former_members(access=access)] == ["leaver@example.com"]
    bay = Bay.objects.get()
    assert bay.authority is not None
    retire_authority(authority=bay.authority)
    assert certificates_of_former_members(access=access) == []
    assert CertificateAuthority.objects.get().key_encrypted == ""


def test_the_page_offers_it_to_whoever_may_and_says_when_one_was_not_finished(tenant: Tenant, client: Client) -> None:
    client.force_login(owner_of(tenant))
    settings, order = (reverse(f"bays:{name}", args=["demo", "web"]) for name in ("settings", "rotate_ca"))
    assert f'action="{order}"' in client.get(settings).content.decode()
    assert client.get(order).status_code == 405
    assert client.post(order).status_code == 302
    assert Operation.objects.get(kind="bay.rotate_ca").state == State.PENDING
    assert "was not finished" not in client.get(settings).content.decode()
    ended()
    Bay.objects.update(condition=Condition.ERROR)
    assert "was not finished" in client.get(settings).content.decode()
    viewer = make_user()
    join(tenant, viewer, role=Role.VIEWER)
    client.force_login(viewer)
    assert order not in client.get(settings).content.decode()
    assert client.post(order).status_code == 403
