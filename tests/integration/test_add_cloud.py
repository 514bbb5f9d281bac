"""How operators add clouds, from the command line and in the admin pages. The OpenStack behind it is a double, so that it can refuse."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from apps.bays.forms import CreateForm
from apps.hosts.clouds import secrets_of, sync_cloud
from apps.hosts.contracts import CloudCredentialsRejected, CloudFacts, CloudUnreachable, HostKind, ProviderError
from apps.hosts.models import Cloud
from apps.hosts.providers.base import PROVIDERS, CloudAccess
from tests.factories import api_of, make_cloud, make_flavor, make_tenant, make_user

pytestmark = pytest.mark.django_db
YAML = """
clouds:
  acme:
    auth: {auth_url: "https://keystone.example/v3", username: alice, password: s3cret-one, project_name: acme}
    region_name: north
  looker:
    auth: {auth_url: "https://keystone.example/v3", username: reader, password: s3cret-two, project_name: admin}
    region_name: north
  both:
    auth: {auth_url: "https://keystone.example/v3", username: alice, password: s3cret-one, project_name: acme}
    regions: [North.1, south]
"""
ONLY_ACME = YAML[: YAML.index("  looker:")]
FOUND = CloudFacts(
    version="OpenStack Nova 2.93 (2022.2 Zed)", aggregates=(), images=(), unavailable=dict.fromkeys(HostKind, "Nothing here."),
    flavors=(), warnings=("The aggregate lxc has no servers.",),
)  # fmt: skip


class Stand:
    """An OpenStack that answers with what the test wants, and remembers with what it was asked."""

    error: ClassVar[Exception | None] = None
    asked: ClassVar[list[tuple[Mapping[str, str], Mapping[str, str]]]] = []

    def __init__(self, access: CloudAccess) -> None:
        self.access = access

    def discover(self) -> CloudFacts:
        Stand.asked.append((self.access.settings, self.access.secrets))
        if Stand.error is not None:
            raise Stand.error
        return FOUND

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(autouse=True)
def _stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "openstack", f"{__name__}.Stand")
    monkeypatch.setattr(Stand, "error", None)
    monkeypatch.setattr(Stand, "asked", [])


@pytest.fixture
def clouds_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "clouds.yaml"
    path.write_text(YAML)
    return path


def add(name: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command("add_cloud", name, *arguments, stdout=out)
    return out.getvalue()


def add_openstack(path: Path, *more: str, name: str = "acme", entry: str = "acme") -> str:
    return add(name, "--provider", "openstack", "--clouds-yaml", str(path), "--os-cloud", entry, "--network", "carina-net", *more)


def refusal(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        add(*arguments)
    assert not Cloud.objects.exists()
    return str(caught.value)


def test_a_cloud_comes_out_of_a_clouds_yaml_with_its_password_encrypted(clouds_yaml: Path) -> None:
    said = add_openstack(clouds_yaml, "--option", "host_kind=vm", "--title", "Acme")
    cloud = Cloud.objects.get()
    assert (cloud.name, cloud.title, cloud.provider, cloud.region, cloud.healthy) == ("acme", "Acme", "openstack", "north", True)
    assert json.loads(cloud.settings["config"])["auth"]["username"] == "alice"
    assert (cloud.settings["network"], cloud.settings["host_kind"]) == ("carina-net", "vm")
    assert secrets_of(cloud=cloud) == {"password": "s3cret-one"}
    assert "s3cret" not in json.dumps(cloud.settings) + cloud.secrets_encrypted + said
    assert "OpenStack Nova 2.93 (2022.2 Zed)" in said
    assert "warning: The aggregate lxc has no servers." in said


def test_the_credential_that_only_looks_is_stored_beside_the_other(clouds_yaml: Path) -> None:
    add_openstack(clouds_yaml, "--discovery-os-cloud", "looker")
    cloud = Cloud.objects.get()
    assert json.loads(cloud.settings["discovery_config"])["auth"]["username"] == "reader"
    assert secrets_of(cloud=cloud) == {"password": "s3cret-one", "discovery_password": "s3cret-two"}


def test_every_region_becomes_a_cloud_of_its_own(clouds_yaml: Path) -> None:
    add_openstack(clouds_yaml, "--title", "Acme", "--default", entry="both")
    rows = list(Cloud.objects.order_by("name").values_list("name", "region", "title", "is_default"))
    assert rows == [("acme-north-1", "North.1", "Acme North.1", True), ("acme-south", "south", "Acme south", False)]


def test_one_region_may_be_asked_for(clouds_yaml: Path) -> None:
    add_openstack(clouds_yaml, "--region", "south", entry="both")
    assert Cloud.objects.get().name == "acme"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--provider", "openstack"], "needs --clouds-yaml PATH and --os-cloud ENTRY"),
        (["x", "--provider", "openstack", "--clouds-yaml", "{path}", "--os-cloud", "acme"], "how bays reach the outside"),
        (["x", "--provider", "openstack", "--clouds-yaml", "{path}", "--os-cloud", "moon", "--network", "n"], "no cloud “moon”; known are"),
        (["x", "--provider", "openstack", "--clouds-yaml", "/nowhere", "--os-cloud", "acme", "--network", "n"], "cannot be read"),
        (
            ["x", "--provider", "openstack", "--clouds-yaml", "{path}", "--os-cloud", "acme", "--network", "n", "--option", "password=x"],
            "seen by everybody",
        ),
        (
            ["X!", "--provider", "openstack", "--clouds-yaml", "{path}", "--os-cloud", "acme", "--network", "n"],
            "only the lower-case letters",
        ),
        (["x", "--clouds-yaml", "{path}"], "add --provider openstack"),
        (["x"], "either --socket PATH or --url"),
        (["x", "--socket", "/s", "--public-ports", "80-90"], "write two ports between 1024 and 65535"),
        (["x", "--socket", "/s", "--option", "broken"], "write KEY=VALUE"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_stored(clouds_yaml: Path, arguments: list[str], said: str) -> None:
    assert said in refusal(*(argument.format(path=clouds_yaml) for argument in arguments))


def test_a_cloud_that_does_not_answer_is_stored_with_the_reason(clouds_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stand, "error", CloudUnreachable("Keystone answered 503."))
    with pytest.raises(CommandError, match=r"not answering: acme\. .*Keystone answered 503\."):
        add_openstack(clouds_yaml)
    assert Cloud.objects.get().health_message == "Keystone answered 503."


def test_one_lost_answer_is_no_silence(clouds_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_openstack(clouds_yaml)
    lost = [CloudUnreachable("Neutron timed out.")]

    def discover(_: Stand) -> CloudFacts:
        if lost:
            raise lost.pop()
        return FOUND

    monkeypatch.setattr(Stand, "discover", discover)
    assert sync_cloud(cloud=Cloud.objects.get()) is True
    assert (Cloud.objects.get().healthy, lost) == (True, [])


def test_a_rejected_credential_is_said_as_such_and_what_was_known_is_kept(clouds_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_openstack(clouds_yaml)
    monkeypatch.setattr(Stand, "error", CloudCredentialsRejected("401: The request you have made requires authentication."))
    before = Cloud.objects.get()
    assert sync_cloud(cloud=before) is False
    after = Cloud.objects.get()
    assert "does not accept this portal’s credentials" in after.health_message
    assert (after.version, after.synced_at, after.healthy) == (before.version, before.synced_at, False)


def test_an_answer_nobody_foresaw_does_not_leave_a_cloud_looking_healthy(clouds_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_openstack(clouds_yaml)
    monkeypatch.setattr(Stand, "error", KeyError("aggregates"))
    assert sync_cloud(cloud=Cloud.objects.get()) is False
    assert "does not understand (KeyError)" in Cloud.objects.get().health_message


def test_clouds_are_looked_at_by_name_or_all(clouds_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_openstack(clouds_yaml, entry="both")
    Stand.asked.clear()
    call_command("sync_clouds", stdout=io.StringIO())
    assert len(Stand.asked) == 2
    call_command("sync_clouds", "acme-south", stdout=io.StringIO())
    assert len(Stand.asked) == 3
    with pytest.raises(CommandError, match="no cloud “moon”; known are: acme-north-1, acme-south"):
        call_command("sync_clouds", "moon")
    monkeypatch.setattr(Stand, "error", CloudUnreachable("gone"))
    out = io.StringIO()
    with pytest.raises(CommandError, match="Not answered: acme-north-1, acme-south"):
        call_command("sync_clouds", stdout=out)
    assert "acme-south: gone" in out.getvalue()


# --- the admin pages ------------------------------------------------------------------------------------------------------------


def signed_in(*, operator: bool) -> Client:
    user = make_user()
    user.is_staff = user.is_superuser = operator
    user.save()
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def typed(**changes: str) -> dict[str, str]:
    return {
        "name": "acme", "provider": "openstack", "title": "Acme", "enabled": "on", "public_address": "", "public_ports": "20000-29999",
        "options": "host_kind=vm", "clouds_yaml": ONLY_ACME, "network": "carina-net", **changes,
    }  # fmt: skip


def inline(**form: str) -> dict[str, str]:
    return {"aggregates-TOTAL_FORMS": "0", "aggregates-INITIAL_FORMS": "0", **form}


def post(client: Client, form: Mapping[str, str], cloud: Cloud | None = None) -> Any:
    address = reverse("admin:hosts_cloud_change", args=[cloud.id]) if cloud else reverse("admin:hosts_cloud_add")
    return client.post(address, form, follow=True)


def test_an_operator_pastes_a_clouds_yaml_and_is_told_what_was_found() -> None:
    operator = signed_in(operator=True)
    page = post(operator, typed())
    cloud = Cloud.objects.get()
    assert (cloud.name, cloud.region, cloud.healthy, cloud.is_default, cloud.enabled) == ("acme", "north", True, True, True)
    assert cloud.settings["host_kind"] == "vm"
    assertContains(page, "OpenStack Nova 2.93 (2022.2 Zed)")
    assertContains(page, "The aggregate lxc has no servers.")
    shown = operator.get(reverse("admin:hosts_cloud_change", args=[cloud.id]))
    assertContains(shown, "https://keystone.example/v3, as alice, in project acme")
    assertContains(shown, "host_kind=vm")
    assertNotContains(shown, "s3cret")
    assertNotContains(shown, cloud.secrets_encrypted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clouds_yaml": ""}, "Paste the entry of a clouds.yaml"),
        ({"clouds_yaml": "clouds: ["}, "is not YAML: line 1"),
        ({"clouds_yaml": YAML}, "has several clouds (acme, both, looker): say which one is meant."),
        ({"clouds_yaml": YAML, "entry": "both"}, "write one of North.1, south"),
        ({"clouds_yaml": ONLY_ACME + "    cacert: /etc/hostname\n"}, "has a path as cacert"),
        ({"network": ""}, "Say how bays reach the outside"),
        ({"options": "password=x"}, "is not written here"),
        ({"options": "config={}"}, "is not written here"),
        ({"options": "x"}, "is not KEY=VALUE"),
        ({"name": "No Spaces"}, "lower-case letters a-z"),
        ({"public_ports": "1-2"}, "write two ports between"),
        ({"provider": "incus", "socket": ""}, "either its socket or its address"),
        ({"provider": "incus", "url": "https://incus.example:8443"}, "published on its public address"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_nothing_is_stored(changes: dict[str, str], said: str) -> None:
    page = post(signed_in(operator=True), typed(**changes))
    assertContains(page, said)
    assert not Cloud.objects.exists()
    assert Stand.asked == []


def test_a_text_that_was_refused_does_not_bring_its_password_back() -> None:
    page = post(signed_in(operator=True), typed(network=""))
    assertNotContains(page, "s3cret")


@pytest.mark.parametrize("error", [CloudCredentialsRejected("401: no"), CloudUnreachable("Keystone answered 503.")])
def test_a_cloud_is_not_stored_before_it_has_answered(error: ProviderError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stand, "error", error)
    assertContains(post(signed_in(operator=True), typed()), str(error))
    assert not Cloud.objects.exists()


def test_a_secret_left_empty_is_kept_and_a_new_one_replaces_it() -> None:
    operator = signed_in(operator=True)
    post(operator, typed(discovery_yaml=ONLY_ACME.replace("s3cret-one", "s3cret-two")))
    cloud = Cloud.objects.get()
    both = {"password": "s3cret-one", "discovery_password": "s3cret-two"}
    assert secrets_of(cloud=cloud) == both
    post(operator, inline(**typed(clouds_yaml="", network="other-net", make_default="on")), cloud)
    cloud.refresh_from_db()
    assert (cloud.settings["network"], secrets_of(cloud=cloud)) == ("other-net", both)
    assert Stand.asked[-1][1] == both
    post(operator, inline(**typed(clouds_yaml=ONLY_ACME.replace("s3cret-one", "s3cret-three"))), cloud)
    cloud.refresh_from_db()
    assert secrets_of(cloud=cloud) == {**both, "password": "s3cret-three"}


def test_the_title_of_a_cloud_that_is_down_can_be_changed_but_not_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = signed_in(operator=True)
    post(operator, typed())
    cloud = Cloud.objects.get()
    monkeypatch.setattr(Stand, "error", CloudUnreachable("Keystone answered 503."))
    assertContains(post(operator, inline(**typed(clouds_yaml="", title="New")), cloud), "is stored, but: Keystone answered 503.")
    post(operator, inline(**typed(clouds_yaml="", title="Newer", network="other-net")), cloud)
    cloud.refresh_from_db()
    assert (cloud.title, cloud.settings["network"], cloud.version) == ("New", "carina-net", FOUND.version)


def test_a_cloud_may_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = signed_in(operator=True)
    post(operator, typed())
    cloud = Cloud.objects.get()
    monkeypatch.setattr(Stand, "error", CloudUnreachable("gone"))
    form = inline(**typed(clouds_yaml=""))
    del form["enabled"]
    assertContains(post(operator, form, cloud), "switched off and was not looked at")
    cloud.refresh_from_db()
    assert not cloud.enabled


def test_a_name_is_given_once() -> None:
    make_cloud("acme")
    assertContains(post(signed_in(operator=True), typed()), "There is a cloud “acme” already")


def test_nobody_but_operators_reaches_these_pages(client: Client) -> None:
    for visitor in (client, signed_in(operator=False)):
        post(visitor, typed())
        assert visitor.get(reverse("admin:hosts_cloud_add")).status_code in {302, 403, 404}
    assert not Cloud.objects.exists()
    assert Stand.asked == []


# --- where users meet them ------------------------------------------------------------------------------------------------------


def test_one_cloud_is_no_question_and_several_are_grouped_with_their_regions(clouds_yaml: Path) -> None:
    make_cloud("local")
    assert not CreateForm().several_clouds
    add_openstack(clouds_yaml, "--title", "Acme", entry="both")
    form = CreateForm()
    assert form.several_clouds
    assert form.fields["cloud"].choices == [  # type: ignore[attr-defined]
        ("", "Wherever there is room"),
        ("local", "Local"),
        ("Acme", [("acme-north-1", "North.1"), ("acme-south", "south")]),
    ]


def test_the_form_of_a_bay_shows_the_regions(clouds_yaml: Path) -> None:
    make_cloud("local")
    make_flavor()
    owner = make_user()
    tenant = make_tenant(owner=owner)
    client = Client()
    client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    assertNotContains(client.get(f"/t/{tenant.slug}/bays/new"), 'name="cloud"')
    add_openstack(clouds_yaml, "--title", "Acme", entry="both")
    page = client.get(f"/t/{tenant.slug}/bays/new")
    assertContains(page, '<optgroup label="Acme">')
    assertContains(page, '<option value="acme-south">south</option>')


def test_the_api_lists_region_health_and_age(clouds_yaml: Path) -> None:
    add_openstack(clouds_yaml)
    (cloud,) = api_of(make_tenant()).get("clouds").json()["results"]
    assert (cloud["region"], cloud["healthy"], cloud["provider"]) == ("north", True, "openstack")
    assert cloud["synced_at"].endswith("Z")
