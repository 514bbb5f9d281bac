"""What the provider `openstack` decides by itself, without a cloud: what is sent again, what an answer means, what a list still says.

Its work on a real OpenStack is shown by the contract suite.
"""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import Mock

import psutil
import pytest
import requests
from keystoneauth1.exceptions import EndpointNotFound, HttpError, SSLError, Unauthorized
from structlog.testing import capture_logs

from apps.hosts.contracts import (
    CloudBusy,
    CloudCredentialsRejected,
    CloudCrowded,
    CloudRefused,
    CloudUnreachable,
    FlavorMissing,
    HostFailed,
    HostKind,
    ImageMissing,
    NoCapacity,
    Owner,
    PowerState,
    ProviderError,
    QuotaExceeded,
)
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.openstack import OpenStackProvider, session, transport
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.errors import (
    AddressTaken,
    AlreadyThere,
    NotThere,
    OutcomeUnknown,
    error_from_library,
    error_of,
    error_of_fault,
    text_of,
)
from apps.hosts.providers.openstack.naming import bay_metadata, mark, metadata_owner, owner_in
from apps.hosts.providers.openstack.options import Options
from apps.hosts.providers.openstack.queries import highest_microversion
from apps.hosts.providers.openstack.servers import Servers, address_of, power_of
from apps.hosts.providers.openstack.view import View

OWNER = Owner(installation="c0de", tenant="a" * 32, bay="b" * 32)
CONFIG = {"auth": {"auth_url": "http://127.0.0.1:9/v3", "username": "carina", "project_name": "carina"}, "region_name": "RegionOne"}


class Scripted:
    """A server on this machine that answers with the given statuses in turn, the last one for ever."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str]]] = [(200, {})]
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections stay open, as clouds' do

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append(f"{self.command} {self.path}")
                status, headers = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                if not status:  # the request was read, and no answer ever comes
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  # what http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[requests.Session]:
    monkeypatch.setattr(transport, "BACK_OFF_SECONDS", 0.001)
    monkeypatch.setattr(transport, "PATIENCE_SECONDS", 50.0)  # on a machine that is busy with other tests
    with requests.Session() as client:
        client.trust_env = False
        client.mount("http://", transport.Transport(authorities="", seconds=60.0))
        yield client


def script(server: Scripted, *statuses: int, **headers: str) -> None:
    server.script = [(status, headers) for status in statuses]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("trouble", [0, 429, 500, 502, 503, 504])
def test_what_does_no_harm_twice_is_sent_three_times(server: Scripted, client: requests.Session, method: str, trouble: int) -> None:
    script(server, trouble, trouble, 200)
    assert client.request(method, f"{server.url}/servers").status_code == 200
    assert len(server.asked) == 3
    script(server, trouble)
    if trouble:
        assert client.request(method, f"{server.url}/servers").status_code == trouble
    else:
        with pytest.raises(requests.ConnectionError):
            client.request(method, f"{server.url}/servers")
    assert len(server.asked) == 6


@pytest.mark.parametrize("trouble", [0, 500, 502, 503, 504])
def test_a_post_that_may_have_been_carried_out_is_never_sent_again(server: Scripted, client: requests.Session, trouble: int) -> None:
    script(server, trouble, 200)
    if trouble:
        assert client.post(f"{server.url}/servers", json={}).status_code == trouble
    else:
        with pytest.raises(requests.ConnectionError):
            client.post(f"{server.url}/servers", json={})
    assert server.asked == ["POST /servers"]


def test_a_post_that_was_turned_away_is_sent_again(server: Scripted, client: requests.Session) -> None:
    script(server, 429, 201)
    assert client.post(f"{server.url}/servers", json={}).status_code == 201


def test_a_request_for_a_token_is_sent_again(server: Scripted, client: requests.Session) -> None:
    script(server, 503, 201)
    assert client.post(f"{server.url}/v3/auth/tokens", json={}).status_code == 201


def test_a_post_to_nobody_is_tried_again_since_nobody_saw_it(client: requests.Session) -> None:
    with capture_logs() as lines, pytest.raises(requests.ConnectionError):
        client.post("http://127.0.0.1:9/servers", json={})
    assert [line["attempt"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(("method", "other"), [("GET", "POST"), ("POST", "GET")])
def test_more_requests_than_a_cloud_bears_wait_for_their_turn_but_not_for_ever(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, method: str, other: str
) -> None:
    monkeypatch.setattr(transport, "AT_ONCE", 1)
    monkeypatch.setattr(transport, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(transport, "PATIENCE_SECONDS", 0.05)
    carrier = transport.Transport(authorities="", seconds=60.0)
    client = requests.Session()
    client.trust_env = False
    client.mount("http://", carrier)
    with carrier._passage(requests.Request(method, server.url).prepare()):
        with pytest.raises(CloudCrowded, match="under way already"):
            client.request(method, server.url)
        assert server.asked == []
        script(server, 200)
        client.request(other, server.url)  # those that only ask and those that change something have turns of their own
        assert len(server.asked) == 1
    script(server, 200)
    client.request(method, server.url)
    assert len(server.asked) == 2


def test_a_refusal_is_not_asked_for_twice(server: Scripted, client: requests.Session) -> None:
    for status in (400, 401, 403, 404, 409, 413):
        script(server, status, 200)
        assert client.get(f"{server.url}/servers").status_code == status


def test_a_stream_is_not_sent_again(server: Scripted, client: requests.Session) -> None:
    script(server, 503, 200)
    assert client.put(f"{server.url}/images/1/file", data=iter([b"half"])).status_code == 503
    assert len(server.asked) == 1


def test_a_pause_that_is_asked_for_is_made_unless_it_is_long(server: Scripted, client: requests.Session) -> None:
    script(server, 429, 200, **{"Retry-After": "600"})
    assert client.get(f"{server.url}/servers").status_code == 429
    script(server, 429, 200, **{"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    assert client.get(f"{server.url}/servers").status_code == 200


def test_a_request_is_logged_without_query_headers_body_and_ids(server: Scripted, client: requests.Session) -> None:
    secret = "no-such-thing-in-a-log"
    with capture_logs() as lines:
        client.post(f"{server.url}/servers/6e4a3bd0-9a5f-4a3c-8b1e-0123456789ab?q={secret}", json=secret, headers={"X-Auth-Token": secret})
    assert [(line["method"], line["path"], line["outcome"]) for line in lines] == [("POST", "/servers/{id}", "200")]
    assert secret not in json.dumps(lines)


def access(*, secrets: dict[str, str] | None = None, **settings: str) -> CloudAccess:
    plain = {"config": json.dumps(CONFIG), "network": "carina-net", **settings}
    return CloudAccess(name="lab", installation="c0de", settings=plain, secrets={"password": "p"} if secrets is None else secrets)


def test_the_environment_says_nothing_about_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"OS_AUTH_URL": "http://evil/v3", "OS_CLOUD": "evil", "HTTP_PROXY": "http://evil", "OS_REGION_NAME": "Evil"}.items():
        monkeypatch.setenv(name, value)
    connection = session.connect(access())
    assert connection.config.region_name == "RegionOne"
    assert connection.config.get_auth_args()["auth_url"] == CONFIG["auth"]["auth_url"]  # type: ignore[index]
    assert connection.session.session.trust_env is False
    connection.close()


def test_a_closed_connection_leaves_nothing_open_at_the_cloud(server: Scripted) -> None:
    """Neutron serves a hundred connections, idle ones included, and then nobody."""
    script(server, 200)

    def idle() -> int:
        port = int(server.url.rpartition(":")[2])
        return sum(each.raddr == ("127.0.0.1", port) and each.status == "ESTABLISHED" for each in psutil.Process().net_connections("tcp"))

    connection = session.connect(access())
    connection.session.get(server.url, authenticated=False)
    assert idle() == 1
    connection.close()
    assert idle() == 0


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"config": ""}, "add_cloud"),
        ({"config": "{"}, "JSON"),
        ({"config": "[]"}, "clouds.yaml"),
        ({"config": json.dumps({**CONFIG, "auth_type": "no-such"})}, "no-such"),
        ({"cacert_pem": "nonsense"}, "cacert_pem"),
        ({"timeout": "soon"}, "timeout"),
        ({"network": ""}, "external_network"),
        ({"ingress": "everything"}, "ingress"),
        ({"ingress": "tcp:9-8"}, "ingress"),
        ({"allowed_from": "home"}, "allowed_from"),
        ({"nameservers": "dns.example"}, "nameservers"),
        ({"spread_policy": "near"}, "spread_policy"),
        ({"build_seconds": "-1"}, "build_seconds"),
        ({"builds_at_once": "0"}, "builds_at_once"),
        ({"builds_at_once": "many"}, "builds_at_once"),
        ({"reaches_hosts": "maybe"}, "reaches_hosts"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(wrong: dict[str, str], word: str) -> None:
    with pytest.raises((CloudRefused, CloudCredentialsRejected), match=word):
        OpenStackProvider(access(secrets=None, **wrong))


def test_credentials_that_lack_something_are_said_as_such() -> None:
    with pytest.raises(CloudCredentialsRejected):
        session.connect(access(config=json.dumps({"auth": {}})))


def test_an_authority_of_ones_own_is_the_only_one_trusted() -> None:
    pem = ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0])
    carrier = transport.Transport(authorities=pem, seconds=1.0)
    prepared = requests.Request("GET", "https://cloud.example/").prepare()
    _, pool = carrier.build_connection_pool_key_attributes(prepared, verify=True)
    assert len(pool["ssl_context"].get_ca_certs()) == 1
    assert "ca_certs" not in pool


def test_bays_share_a_network_or_have_their_own() -> None:
    shared, own = OpenStackProvider(access()), OpenStackProvider(access(network="", external_network="public"))
    assert (shared.own_networks, shared.reaches_hosts_directly) == (False, True)
    assert (own.own_networks, own.reaches_hosts_directly) == (True, False)
    assert Options.of({"network": "n", "reaches_hosts": "false"}).reaches_hosts is False


def test_user_data_comes_by_config_drive_where_the_kind_of_host_has_one() -> None:
    by_kind = Options.of({"network": "n"})
    assert [by_kind.wants_config_drive(kind) for kind in HostKind] == [False, True, True]
    assert Options.of({"network": "n", "config_drive": "true"}).wants_config_drive(HostKind.CONTAINER)


def test_the_clusters_own_ports_are_closed_to_the_outside() -> None:
    openings = Options.of({"network": "n"}).ingress

    def is_open(protocol: str, port: int) -> bool:
        return any(each.protocol == protocol and each.first <= port <= each.last for each in openings)

    assert is_open("tcp", 2376)
    assert is_open("tcp", 30000)
    assert is_open("tcp", 443)
    assert not any(is_open("tcp", port) for port in (22, 2375, 2377, 7946, 10250))
    assert not any(is_open("udp", port) for port in (4789, 7946))


def test_a_mark_says_whose_a_thing_is_and_half_a_mark_says_nothing() -> None:
    assert owner_in(mark(OWNER)) == OWNER
    for text in (None, "", "carina", "carina:c0de:tenant", f"{mark(OWNER)}:more", f"x{mark(OWNER)}"):
        assert owner_in(text) is None
    full = {"carina_installation": "c0de", "carina_tenant": OWNER.tenant, "carina_bay": OWNER.bay}
    assert metadata_owner(full) == OWNER
    assert metadata_owner({**full, "carina_bay": ""}) is None
    assert metadata_owner(None) is None


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (403, "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances", QuotaExceeded),
        (409, "OverQuota: Quota exceeded for resources: ['port'].", QuotaExceeded),
        (413, "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded", QuotaExceeded),
        (409, "IpAddressGenerationFailure: No more IP addresses available on network 1.", NoCapacity),
        (409, "IpAddressAlreadyAllocated: IP address 10.0.0.5 already allocated in subnet 1", AddressTaken),
        (409, "SecurityGroupRuleExists: Security group rule already exists. Rule id is 1.", AlreadyThere),
        (400, "Image 6e4a could not be found.", ImageMissing),
        (400, "Can not find requested image", ImageMissing),
        (400, "Flavor 6e4a could not be found.", FlavorMissing),
        (400, "Port 6e4a could not be found.", NotThere),
        (400, "Flavor's disk is too small for requested image.", CloudRefused),
        (404, "Instance 6e4a could not be found.", NotThere),
        (409, "Port 6e4a is still in use.", CloudBusy),
        (401, "The request you have made requires authentication.", CloudCredentialsRejected),
        (403, "Policy doesn't allow os_compute_api:servers:create to be performed.", CloudCredentialsRejected),
        (429, "slow down", CloudUnreachable),
        (503, "", CloudUnreachable),
    ],
)
def test_a_refusal_is_told_by_status_and_text(status: int, text: str, kind: type[ProviderError]) -> None:
    error = error_of(what="GET compute/servers", status=status, text=text)
    assert isinstance(error, kind)
    assert str(status) in str(error)


def test_a_post_without_an_answer_may_have_been_carried_out() -> None:
    for status in (500, 502, 503, 504):
        assert isinstance(error_of(what="POST compute/servers", status=status, text=""), OutcomeUnknown)
    assert isinstance(error_from_library(what="POST compute/servers", error=requests.ReadTimeout()), OutcomeUnknown)
    assert OutcomeUnknown.transient
    assert OutcomeUnknown.code == "cloud_unreachable"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unauthorized("no"), CloudCredentialsRejected),
        (HttpError("down", http_status=503), CloudUnreachable),
        (HttpError("no such path", http_status=404), CloudRefused),
        (EndpointNotFound("none"), CloudRefused),
        (SSLError("CERTIFICATE_VERIFY_FAILED"), CloudCredentialsRejected),
        (SSLError("EOF occurred"), CloudUnreachable),
        (requests.ConnectionError("reset"), CloudUnreachable),
    ],
)
def test_what_the_library_raises_is_told_in_our_words(error: Exception, kind: type[ProviderError]) -> None:
    assert isinstance(error_from_library(what="GET compute/servers", error=error), kind)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("No valid host was found. There are not enough hosts available.", NoCapacity),
        ("Quota exceeded for cores", QuotaExceeded),
        ("Image 6e4a could not be found.", ImageMissing),
        ("Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance 1.", HostFailed),
        ("Build of instance 1 aborted: Port 2 is still in use.", HostFailed),
    ],
)
def test_a_server_that_failed_says_why(message: str, kind: type[ProviderError]) -> None:
    error = error_of_fault(ref="web-1", fault={"code": 500, "message": message})
    assert type(error) is kind
    assert "web-1" in str(error)
    assert type(error_of_fault(ref="web-1", fault=None)) is HostFailed


def test_every_service_wraps_its_sentence_differently() -> None:
    assert text_of({"itemNotFound": {"code": 404, "message": "Instance\n1"}}) == "Instance 1"
    assert text_of({"NeutronError": {"type": "OverQuota", "message": "Quota exceeded", "detail": ""}}) == "OverQuota: Quota exceeded"
    assert text_of({"error": {"code": 401, "message": "no", "title": "Unauthorized"}}) == "no"
    assert text_of("<html>bad gateway</html>") == "<html>bad gateway</html>"
    assert text_of(None) == ""
    assert len(text_of("x" * 9999)) == 300


@pytest.mark.parametrize(
    ("status", "task", "power"),
    [
        ("BUILD", "spawning", PowerState.STARTING),
        ("ACTIVE", None, PowerState.RUNNING),
        ("ACTIVE", "deleting", PowerState.GOING),
        ("ERROR", "deleting", PowerState.GOING),
        ("SHUTOFF", None, PowerState.STOPPED),
        ("SHUTOFF", "powering-on", PowerState.STARTING),
        ("SOFT_DELETED", None, PowerState.GOING),
        ("HARD_REBOOT", None, PowerState.STARTING),
        ("ERROR", None, PowerState.OTHER),
        ("UNKNOWN", None, PowerState.OTHER),
    ],
)
def test_novas_words_for_a_server(status: str, task: str | None, power: PowerState) -> None:
    assert power_of({"status": status, "OS-EXT-STS:task_state": task}) is power


def test_a_deletion_that_takes_long_is_asked_for_again_ever_more_seldom_not_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Mock(spec=Api)
    api.delete.return_value = True
    servers = Servers(api=api, installation="c0de", build_seconds=600)
    long_ago = {"id": "s1", "status": "ACTIVE", "metadata": {}, "OS-EXT-STS:task_state": "deleting", "updated": "2026-01-01T00:00:00Z"}
    asked = []
    for second in range(0, 3600, 10):
        monkeypatch.setattr("apps.hosts.providers.openstack.servers.monotonic", lambda moment=float(second): moment)
        before = api.delete.call_count
        assert not servers.delete(long_ago)
        asked += [second] * (api.delete.call_count - before)
    assert asked[:7] == [0, 60, 180, 420, 720, 1020, 1320]


def test_a_server_that_was_asked_to_be_deleted_does_not_run_though_its_build_ended_meanwhile() -> None:
    moment = "2026-01-01T00:00:00Z"
    built = {"id": "s1", "status": "ACTIVE", "metadata": bay_metadata(OWNER), "created": moment, "updated": moment}
    api = Mock(spec=Api)
    api.servers.return_value = [built]
    api.delete.return_value = True
    servers = Servers(api=api, installation="c0de", build_seconds=600)
    assert not servers.delete(built)
    servers.view.doubt()
    assert [power_of(server) for server in servers.of(OWNER, age=0)] == [PowerState.GOING]


def test_the_time_a_server_may_be_built_runs_from_its_request_though_no_list_shows_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    api = Mock(spec=Api)
    api.servers.return_value = []
    servers = Servers(api=api, installation="c0de", build_seconds=600)
    seen = []
    for seconds in (0, 600, 601):
        monkeypatch.setattr("apps.hosts.providers.openstack.servers.now", lambda later=seconds: moment + timedelta(seconds=later))
        if not seconds:
            servers.made({"id": "s1", "status": "BUILD", "metadata": bay_metadata(OWNER)})
        seen += [servers.is_overdue(server) for server in servers.of(OWNER)]
    assert seen == [False, False, True]


def test_the_address_is_the_fixed_one_of_version_four() -> None:
    found = [
        {"addr": "2001:db8::5", "version": 6, "OS-EXT-IPS:type": "fixed"},
        {"addr": "203.0.113.5", "version": 4, "OS-EXT-IPS:type": "floating"},
        {"addr": "10.0.0.5", "version": 4, "OS-EXT-IPS:type": "fixed"},
    ]
    assert address_of({"metadata": {}, "addresses": {"net": found}}) == "10.0.0.5"
    assert address_of({"metadata": {"carina_address": "10.0.0.6"}, "addresses": {}}) == "10.0.0.6"


class Clock:
    """Time that passes on command."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Listed:
    """A list in a cloud, and how often it was asked for."""

    def __init__(self, clock: Clock) -> None:
        self.things: list[dict[str, Any]] = []
        self.asked = 0
        self.takes = 0.0
        self.meanwhile: Callable[[], None] = lambda: None
        self._clock = clock

    def __call__(self) -> list[dict[str, Any]]:
        self.asked += 1
        found = list(self.things)
        self._clock.now += self.takes
        self.meanwhile()
        return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def listed(clock: Clock) -> Listed:
    return Listed(clock)


@pytest.fixture
def view(clock: Clock, listed: Listed) -> View:
    return View(fetch=listed, clock=clock)


def ids(things: list[dict[str, Any]]) -> set[str]:
    return {thing["id"] for thing in things}


def test_a_list_serves_everybody_for_a_second_and_longer_where_it_takes_long(view: View, listed: Listed, clock: Clock) -> None:
    for _ in range(5):
        view.look()
    assert listed.asked == 1
    clock.now += 1.1
    listed.takes = 2.0
    view.look()
    assert listed.asked == 2
    clock.now += 1.9
    view.look()
    assert listed.asked == 2, "twice as long as the list took, counted from its beginning"
    clock.now += 0.2
    view.look()
    assert listed.asked == 3


def test_what_we_made_is_seen_at_once_and_what_we_deleted_is_not(view: View, listed: Listed) -> None:
    listed.things = [{"id": "old"}]
    assert ids(view.look()) == {"old"}
    view.note({"id": "new"})
    view.forget("old")
    assert ids(view.look()) == {"new"}
    assert listed.asked == 1


def test_what_we_made_while_the_list_was_on_its_way_is_not_lost(view: View, listed: Listed) -> None:
    listed.takes = 0.5
    listed.meanwhile = lambda: view.note({"id": "new"})
    assert ids(view.look()) == {"new"}


def test_the_cloud_is_believed_again_once_its_list_is_younger(view: View, listed: Listed, clock: Clock) -> None:
    view.note({"id": "new", "status": "BUILD"})
    listed.things = [{"id": "new", "status": "ACTIVE"}]
    clock.now += 0.1
    assert view.look(age=0) == [{"id": "new", "status": "ACTIVE"}]
    listed.things = []
    clock.now += 10
    assert view.look() == []


def test_a_list_that_lacks_what_was_just_made_is_not_believed_for_some_seconds(view: View, listed: Listed, clock: Clock) -> None:
    view.note({"id": "new"})
    clock.now += 2
    assert ids(view.look()) == {"new"}
    clock.now += 6
    assert view.look() == []


def test_after_a_request_with_an_unknown_outcome_no_older_list_counts(view: View, listed: Listed) -> None:
    view.look()
    listed.things = [{"id": "accepted all the same"}]
    view.doubt()
    assert ids(view.look(age=60)) == {"accepted all the same"}


def test_what_is_not_in_an_older_list_is_looked_for_anew(view: View, listed: Listed, clock: Clock) -> None:
    view.look()
    clock.now += 0.5
    asked: list[str] = []

    def closer() -> list[dict[str, Any]]:
        asked.append("closer")
        return [{"id": "made by another worker"}]

    def pick(things: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return things

    assert ids(view.find(pick=pick, closer=closer)) == {"made by another worker"}
    clock.now += 60
    assert view.find(pick=pick, closer=closer) == [], "the list itself was asked for after the question"
    assert asked == ["closer"]


def test_askers_at_the_same_time_share_one_list_and_its_failure(listed: Listed) -> None:
    gate = threading.Event()

    def fetch() -> list[dict[str, Any]]:
        listed.asked += 1
        gate.wait(5)
        if listed.asked == 1:
            raise CloudUnreachable("gone")
        return [{"id": "there"}]

    view = View(fetch=fetch)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(view.look) for _ in range(4)]
        threading.Timer(0.2, gate.set).start()
        failures = [job.exception() for job in jobs]
    assert [type(failure) for failure in failures] == [CloudUnreachable] * 4
    assert listed.asked == 1
    assert ids(view.look()) == {"there"}


@pytest.mark.parametrize(("told", "highest"), [((2, 96), (2, 96)), ((2, None), (2, 0))])
def test_the_newest_version_is_what_nova_says(told: tuple[int, int | None], highest: tuple[int, int]) -> None:
    assert highest_microversion(Mock(**{"compute.get_endpoint_data.return_value.max_microversion": told})) == highest


@pytest.mark.parametrize("data", [None, Mock(max_microversion=None)])
def test_a_nova_that_names_no_version_did_not_answer(data: object) -> None:
    with pytest.raises(CloudUnreachable, match="microversions"):
        highest_microversion(Mock(**{"compute.get_endpoint_data.return_value": data}))
