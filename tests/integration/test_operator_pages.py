"""The operator's pages of clouds: who sees them, and what they say of an OpenStack with everything there is to say."""

import shutil
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, sync_playwright
from pytest_django import DjangoAssertNumQueries
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects
from pytest_django.live_server_helper import LiveServer

from apps.accounts.models import User
from apps.common.clock import now
from apps.dashboard import operators
from apps.hosts import tasks
from apps.hosts.clouds import record_facts
from apps.hosts.contracts import AggregateInfo, CloudFacts, FlavorInfo, HostKind, ImageInfo, MachineInfo, QuotaInfo
from apps.hosts.models import Cloud
from tests.browser import QUIET, SCREENSHOTS
from tests.e2e.journey import Watch
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant, make_user

pytestmark = pytest.mark.django_db
LIST, ONE = "/operators/clouds/", "/operators/clouds/acme/"
SPEC = "aggregate_instance_extra_specs:container_host"


def machine(name: str, *, up: bool = True, free: int = 20) -> MachineInfo:
    free = free if up else 0
    return MachineInfo(
        name=name, up=up, total_vcpus=32, total_memory_mib=65536, total_disk_gib=500,
        free_vcpus=free, free_memory_mib=free * 2048, free_disk_gib=free * 10,
    )  # fmt: skip


def aggregate(name: str, kind: HostKind, *machines: MachineInfo, **metadata: str) -> AggregateInfo:
    return AggregateInfo(
        name=name, host_kind=kind, metadata=metadata, servers=len(machines), machines=machines,
        total_vcpus=sum(each.total_vcpus for each in machines),
        total_memory_mib=sum(each.total_memory_mib for each in machines),
        total_disk_gib=sum(each.total_disk_gib for each in machines),
        free_vcpus=sum(each.free_vcpus for each in machines),
        free_memory_mib=sum(each.free_memory_mib for each in machines),
        free_disk_gib=sum(each.free_disk_gib for each in machines),
    )  # fmt: skip


def nova_flavor(name: str, *, vcpus: int = 1, specs: dict[str, str] | None = None) -> FlavorInfo:
    return FlavorInfo(ref=f"id-{name}", name=name, vcpus=vcpus, memory_mib=vcpus * 1024, disk_gib=vcpus * 10, extra_specs=specs or {})


FACTS = CloudFacts(
    version="OpenStack Nova 2.93 (2022.2 Zed)",
    aggregates=(
        aggregate("lxc", HostKind.CONTAINER, machine("compute-1"), machine("compute-2", up=False), container_host="lxc"),
        aggregate("kvm", HostKind.VM, machine("compute-3", free=5), container_host="kvm"),
    ),
    images=(ImageInfo(ref="carina-node-swarm", properties={"carina.coe": "swarm", "carina.host_kind": "container"}),),
    unavailable={HostKind.BAREMETAL: "This OpenStack has no servers set aside for bare metal."},
    flavors=(
        nova_flavor("lxc-1", specs={SPEC: "lxc"}),
        nova_flavor("anything", vcpus=7),
        nova_flavor("windows-1", specs={SPEC: "hyperv"}),
    ),
    quota=QuotaInfo(hosts=7, vcpus=None, memory_mib=51200),
    networks=("carina-net",),
    warnings=("The server compute-2 is down or disabled: no host starts there.",),
)


@pytest.fixture
def acme() -> Cloud:
    cache.clear()
    for name, kind in (("c1.small", HostKind.CONTAINER), ("v1.small", HostKind.VM), ("b1.small", HostKind.BAREMETAL)):
        make_flavor(name, kind=kind)
    moment = now()
    cloud = Cloud.objects.create(name="acme", title="Acme", provider="openstack", region="north", created_at=moment, updated_at=moment)
    record_facts(cloud=cloud, facts=FACTS, asked_at=moment)
    Cloud.objects.update(is_default=True)
    return cloud


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def make_operator() -> User:
    user = make_user()
    user.is_staff = user.is_superuser = True
    user.save()
    return user


@pytest.fixture
def operator() -> Client:
    return signed_in(make_operator())


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for module in (operators, tasks):
        monkeypatch.setattr(module, "send", lambda **task: calls.append(task))
    return calls


def test_for_everybody_but_operators_these_pages_do_not_exist(client: Client, acme: Cloud, sent: list[dict[str, Any]]) -> None:
    owner = make_user()
    make_tenant(owner=owner)
    stranger = signed_in(owner)
    for address in (LIST, ONE):
        assert stranger.get(address).status_code == 404, address
        assertRedirects(client.get(address), f"/account/login/?next={address}", fetch_redirect_response=False)
    assert stranger.post(f"{ONE}look").status_code == 404
    assert client.post(f"{ONE}look").status_code == 302
    assert sent == []
    assertNotContains(stranger.get("/t/" + owner.memberships.get().tenant.slug + "/bays/new"), LIST)


def test_an_operator_finds_the_console_in_the_menu_and_the_clouds_in_it(acme: Cloud) -> None:
    user = make_operator()
    tenant = make_tenant(owner=user)
    assertContains(signed_in(user).get(f"/t/{tenant.slug}/bays/new"), 'href="/operators/"')
    assertContains(signed_in(user).get("/operators/"), f'href="{LIST}"')


def test_the_list_says_how_each_cloud_is(operator: Client, acme: Cloud) -> None:
    Cloud.objects.create(
        name="dead", title="Dead", provider="incus", healthy=False, health_message="connection refused", created_at=now(), updated_at=now()
    )
    page = operator.get(LIST)
    for words in ("Acme", "north", "OpenStack Nova 2.93 (2022.2 Zed)", "Healthy", "1 warning", "Never answered", "connection refused"):
        assertContains(page, words)


def test_the_page_of_a_cloud_leads_from_aggregate_to_flavors_servers_and_what_is_free(operator: Client, acme: Cloud) -> None:
    page = operator.get(ONE)
    for words in (
        "container_host=lxc", "20 of 64 free", "compute-1", "Down or disabled", "lxc-1", "room for 7", "by lxc-1", "carina-net",
        "no limit", "no servers set aside for bare metal", "compute-2 is down or disabled", "carina-node-swarm",
    ):  # fmt: skip
        assertContains(page, words)


def test_the_page_says_why_a_flavor_is_not_offered(operator: Client, acme: Cloud) -> None:
    page = operator.get(ONE)
    assertContains(page, "flavors of this size (lxc-1, windows-1) do not lead to the aggregate kvm")
    assertContains(page, "This OpenStack has no servers set aside for bare metal.")


def test_a_flavor_that_can_land_anywhere_is_marked_and_one_that_leads_nowhere_is_named(operator: Client, acme: Cloud) -> None:
    page = operator.get(ONE)
    assertContains(page, "can land anywhere", count=2)  # "anything", in each of two aggregates
    assertContains(page, "lead to none of these aggregates")
    assertContains(page, "windows-1")


def test_a_cloud_that_stopped_answering_keeps_what_was_known_with_its_age(operator: Client, acme: Cloud) -> None:
    Cloud.objects.update(healthy=False, health_message="Keystone answered 503.", synced_at=now() - timedelta(minutes=5))
    page = operator.get(ONE)
    for words in ("Keystone answered 503.", "5 min ago", "Not answering", "compute-1"):
        assertContains(page, words)


def test_things_of_unknown_bays_are_named(operator: Client, acme: Cloud) -> None:
    Cloud.objects.update(strays=[f"{number:032x} of tenant ab" for number in range(150)])
    assertContains(operator.get(ONE), f"{99:032x} of tenant ab")
    assertNotContains(operator.get(ONE), f"{100:032x} of tenant ab")
    assertContains(operator.get(f"{ONE}?strays=2"), f"{149:032x} of tenant ab")


def test_look_now_sends_a_worker_and_the_page_waits_for_it(operator: Client, acme: Cloud, sent: list[dict[str, Any]]) -> None:
    answer = operator.post(f"{ONE}look")
    assert sent == [{"task": "hosts.sync_one", "cloud_id": str(acme.id), "at_once": "yes"}]
    page = operator.get(answer["Location"])
    assertContains(page, "Being looked at")
    assertContains(page, 'hx-trigger="every 1s"')
    cache.set(f"{tasks.LOOKED}:{acme.id}", now(), timeout=60)
    fragment = operator.get(answer["Location"], headers={"HX-Request": "true"})
    assertNotContains(fragment, "every 1s")
    assertNotContains(fragment, "<html")


def test_a_page_that_no_worker_serves_stops_waiting_and_says_so(operator: Client, acme: Cloud) -> None:
    page = operator.get(ONE, {"asked": (now() - timedelta(minutes=3)).isoformat()})
    assertContains(page, "No worker has looked at it")
    assertNotContains(page, "every 1s")


@pytest.mark.parametrize("asked", ["yesterday", "2026-13-45", "2026-01-01", "2026-01-01T00:00:00", "\0", "9" * 400])
def test_nonsense_in_the_address_is_no_error(operator: Client, acme: Cloud, asked: str) -> None:
    assert operator.get(ONE, {"asked": asked}).status_code == 200
    assert operator.get(ONE, {"strays": asked}).status_code == 200


def test_a_cloud_that_is_switched_off_is_not_looked_at(operator: Client, acme: Cloud, sent: list[dict[str, Any]]) -> None:
    Cloud.objects.update(enabled=False)
    assertContains(operator.post(f"{ONE}look", follow=True), "switched off: switch it on")
    assert sent == []


def test_an_unknown_cloud_is_not_found(operator: Client) -> None:
    assert operator.get("/operators/clouds/moon/").status_code == 404
    assert operator.post("/operators/clouds/moon/look").status_code == 404


def test_more_clouds_and_bays_do_not_mean_more_queries(
    operator: Client, acme: Cloud, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    tenant = make_tenant()
    make_cloud("local")
    for number in range(3):
        make_bay(tenant, f"web{number}")
        make_cloud(f"more{number}")
    operator.get(LIST)  # the first request of a session writes down that there is one
    with django_assert_max_num_queries(10):
        operator.get(LIST)
    with django_assert_max_num_queries(16):
        operator.get(ONE)


def test_one_look_at_a_time_and_a_request_meanwhile_is_one_more_look(
    acme: Cloud, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def slow(*, cloud: Cloud) -> bool:
        looks.append(cloud.name)
        for _ in range(5):
            tasks.sync_one(cloud_id=str(cloud.id))
        return True

    monkeypatch.setattr(tasks, "sync_cloud", slow)
    tasks.sync_one(cloud_id=str(acme.id))
    assert looks == ["acme"]
    assert [task["task"] for task in sent] == ["hosts.sync_again"]
    assert tasks.last_look_at(cloud_id=acme.id) is not None


def test_a_slow_cloud_rests_between_looks_unless_an_operator_asks(
    acme: Cloud, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    monkeypatch.setattr(tasks, "sync_cloud", lambda *, cloud: looks.append(cloud.name))
    cache.set(f"{tasks.LOOKING}:{acme.id}", tasks.RESTING, timeout=20)
    tasks.sync_one(cloud_id=str(acme.id))
    assert looks == []
    tasks.sync_one(cloud_id=str(acme.id), at_once="yes")
    assert looks == ["acme"]


def look_at_pages(browser: Browser, *, base: str, session: str, axe: str, name: str, width: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": base}])
    page = context.new_page()
    watch = Watch(page)
    for shot, address in (("clouds", LIST), ("cloud", ONE), ("admin-add", reverse("admin:hosts_cloud_add"))):
        page.goto(f"{base}{address}")
        page.screenshot(path=SCREENSHOTS / f"operators-{shot}-{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{shot} scrolls sideways on {name}"
        if shot != "admin-add":  # Django's own page
            page.evaluate(axe)
            found = page.evaluate("async () => (await axe.run()).violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' '))")
            assert found == [], (shot, name)
    assert not watch.complaints
    context.close()


@pytest.mark.django_db(transaction=True)
def test_the_pages_stand_in_a_browser_without_a_complaint(request: pytest.FixtureRequest, axe: str) -> None:
    live_server: LiveServer = request.getfixturevalue("live_server")  # only now, with the settings of this test
    request.getfixturevalue("acme")
    session = signed_in(make_operator()).cookies[settings.SESSION_COOKIE_NAME].value
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "browser tests need Chromium: install it with “apt-get install chromium”"
    with sync_playwright() as playwright:  # a browser of its own: while one runs, its loop keeps this thread from the database
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        for name, width, scheme in (("desktop", 1440, "light"), ("phone", 390, "light"), ("dark", 1440, "dark")):
            look_at_pages(browser, base=live_server.url, session=session, axe=axe, name=name, width=width, scheme=scheme)
        browser.close()
