"""Requests to the services of one OpenStack: JSON in, JSON out, and nothing but `ProviderError` raised."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException
from openstack.proxy import Proxy

from apps.hosts.contracts import CloudRefused
from apps.hosts.providers.openstack.errors import NotThere, error_from_library, error_of, text_of
from apps.hosts.providers.openstack.queries import highest_microversion
from apps.hosts.providers.openstack.session import has_volumes

OLDEST_MICROVERSION, BEST_MICROVERSION = (2, 52), (2, 79)
"""Tags in the request that makes a server came with 2.52 (Pike); nothing after 2.79 (Train) is needed."""
SERVICES = {"compute": "compute", "network": "network", "image": "image", "volume": "block_storage"}
PAGE, REFUSED = 1000, 400
Json = dict[str, Any]
Query = Mapping[str, str | Sequence[str]]


class Api:
    """The services of one project, safe to share between threads.

    Paths are those of the services' API references (https://docs.openstack.org/api-quick-start/). Raises what `errors` describes;
    `OutcomeUnknown` for a POST that may have been carried out although no answer says so.
    """

    def __init__(self, *, connection: Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()
        self._microversion = ""
        self._has_volumes: bool | None = None

    def get(self, service: str, path: str, *, query: Query | None = None) -> Json:
        """Return what lies at `path`; raises NotThere."""
        return self._ask("GET", service, path, query=query)

    def post(self, service: str, path: str, body: Json) -> Json:
        """Ask for something new, or for an action."""
        return self._ask("POST", service, path, body=body)

    def put(self, service: str, path: str, body: Json) -> Json:
        """Change what lies at `path`."""
        return self._ask("PUT", service, path, body=body)

    def delete(self, service: str, path: str) -> bool:
        """Delete what lies at `path`; returns False if nothing did."""
        try:
            self._ask("DELETE", service, path)
        except NotThere:
            return False
        return True

    def listing(self, kind: str, *, query: Query | None = None) -> list[Json]:
        """Return the project's things of a Neutron `kind` such as "security-groups"; empty if this Neutron does not know the kind."""
        key = kind.replace("-", "_")
        asked = {"project_id": self.project_id, **(query or {})}
        try:
            answer = self.get("network", f"/{kind}", query=asked)
        except NotThere:
            return []
        found: list[Json] = answer[key]
        while following := _next_page(answer, f"{key}_links"):
            answer = self.get("network", following)
            found += answer[key]
        return found

    def servers(self, *, tag: str) -> list[Json]:
        """Return the project's servers with that tag, in full."""
        answer = self.get("compute", "/servers/detail", query={"tags": tag})
        found: list[Json] = answer["servers"]
        while following := _next_page(answer, "servers_links"):
            answer = self.get("compute", following)
            found += answer["servers"]
        return found

    def server_groups(self) -> list[Json]:
        """Return all server groups of the project: Nova cannot filter them."""
        found: list[Json] = []
        while True:
            page = self.get("compute", "/os-server-groups", query={"limit": str(PAGE), "offset": str(len(found))})["server_groups"]
            found += page
            if len(page) < PAGE:
                return found

    @property
    def project_id(self) -> str:
        """The Keystone project the portal's credentials belong to."""
        try:
            project = self.connection.session.get_project_id()
        except (ClientException, SDKException, requests.RequestException) as error:
            raise error_from_library(what="POST identity/auth/tokens", error=error) from error
        if not project:
            raise CloudRefused("The cloud's credentials are not for a project: name one (project_name) in its clouds.yaml entry.")
        return project

    @property
    def has_volumes(self) -> bool:
        """Whether the cloud has block storage."""
        if self._has_volumes is None:
            try:
                self._has_volumes = has_volumes(self.connection)
            except (ClientException, SDKException, requests.RequestException) as error:
                raise error_from_library(what="GET the catalogue", error=error) from error
        return self._has_volumes

    def _ask(self, method: str, service: str, path: str, *, query: Query | None = None, body: Json | None = None) -> Json:
        what = f"{method} {service}{urlsplit(path).path}"
        try:
            proxy: Proxy = getattr(self.connection, SERVICES[service])
            options: Json = {"microversion": self._compute_version()} if service == "compute" else {}
            if body is not None:
                options["json"] = body
            answer = proxy.request(path, method, params=query, **options)
        except (ClientException, SDKException, requests.RequestException) as error:
            raise error_from_library(what=what, error=error) from error
        return _checked(answer, what=what)

    def _compute_version(self) -> str:
        with self._lock:
            if not self._microversion:
                offered = highest_microversion(self.connection)
                if offered < OLDEST_MICROVERSION:
                    raise CloudRefused("The cloud's Nova is older than microversion 2.52 (Pike), which brought tags; Carina needs it.")
                best = min(offered, BEST_MICROVERSION)
                self._microversion = f"{best[0]}.{best[1]}"
        return self._microversion


def _checked(answer: requests.Response, *, what: str) -> Json:
    body: Any = None
    if answer.content:
        try:
            body = answer.json()
        except ValueError:
            body = answer.text
    if answer.status_code >= REFUSED:
        raise error_of(what=what, status=answer.status_code, text=text_of(body))
    return body if isinstance(body, dict) else {}


def _next_page(answer: Json, links: str) -> str:
    """The path of the next page, relative to the service; empty on the last."""
    following = next((link["href"] for link in answer.get(links, []) if link.get("rel") == "next"), "")
    if not following:
        return ""
    parts = urlsplit(following)
    return f"/{parts.path.rsplit('/', 1)[1]}?{parts.query}" if not parts.path.endswith("/detail") else f"/servers/detail?{parts.query}"
