"""The bay's security group: its hosts reach each other on everything, the outside reaches what the operator allows.

The group is made first and everything else hangs on it: Neutron makes no port with a group that does not exist, and Nova no server with
a port that does not exist. So when a bay is taken down to its group, no late request of a worker that died can bring anything back.
"""

import hashlib
from functools import partial
from typing import Any

from apps.hosts.contracts import Owner
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.errors import AlreadyThere, NotThere
from apps.hosts.providers.openstack.naming import bay_name, mark, tags, things_of
from apps.hosts.providers.openstack.options import Options
from apps.hosts.providers.openstack.view import View

FIELDS = ("id", "name", "description", "tags", "created_at")
COMPARED = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id")
Json = dict[str, Any]


class SecurityGroups:
    """The security groups of one project's bays."""

    def __init__(self, *, api: Api, options: Options) -> None:
        self._api = api
        self._options = options
        self._view = View(fetch=lambda: api.listing("security-groups", query={"fields": FIELDS}))
        self._done = f"carina-rules-{hashlib.sha256(repr(_wanted(options, group='')).encode()).hexdigest()[:12]}"

    def find(self, owner: Owner) -> Json | None:
        """Return the bay's group; the oldest if two workers made one each."""
        return next(iter(self._view.find(pick=partial(things_of, owner), closer=partial(self.of, owner))), None)

    def of(self, owner: Owner) -> list[Json]:
        """Return every group of the bay there is now."""
        return things_of(owner, self._api.listing("security-groups", query={"fields": FIELDS, "description": mark(owner)}))

    def everywhere(self) -> list[Json]:
        """Return every group of the project there is now."""
        return self._view.look(age=0)

    def ensure(self, owner: Owner) -> str:
        """Make the bay's group exist with its rules; return its id. The tag that names the rules is written after them."""
        group = self.find(owner)
        fresh = group is None
        if group is None:
            group = self._create(owner)
        wanted_tags = {*tags(owner), self._done}
        if not wanted_tags <= set(group["tags"]):
            self._write_rules(group_id=group["id"], fresh=fresh)
            self._api.put("network", f"/security-groups/{group['id']}/tags", {"tags": sorted(wanted_tags)})
            self._view.note({**group, "tags": sorted(wanted_tags)})
        group_id: str = group["id"]
        return group_id

    def remove(self, owner: Owner) -> None:
        """Delete every group of the bay."""
        for group in self.of(owner):
            self._api.delete("network", f"/security-groups/{group['id']}")
            self._view.forget(group["id"])

    def _create(self, owner: Owner) -> Json:
        body = {"security_group": {"name": bay_name(owner), "description": mark(owner)}}
        with self._view.changing():
            answer: Json = self._api.post("network", "/security-groups", body)["security_group"]
        group = {field: answer.get(field) for field in FIELDS} | {"tags": answer.get("tags") or []}
        self._view.note(group)
        return group

    def _write_rules(self, *, group_id: str, fresh: bool) -> None:
        wanted = _wanted(self._options, group=group_id)
        if not fresh:
            present = self._api.listing("security-group-rules", query={"security_group_id": group_id})
            for rule in present:
                if rule["direction"] == "ingress" and _essence(rule) not in map(_essence, wanted):
                    self._api.delete("network", f"/security-group-rules/{rule['id']}")
            known = [_essence(rule) for rule in present]
            wanted = [rule for rule in wanted if _essence(rule) not in known]
        if not wanted:
            return
        try:
            self._api.post("network", "/security-group-rules", {"security_group_rules": wanted})
        except AlreadyThere:  # some of them, by another worker: then one by one
            for rule in wanted:
                self._write_rule(rule)
        except NotThere:
            self._view.forget(group_id)
            raise

    def _write_rule(self, rule: Json) -> None:
        try:
            self._api.post("network", "/security-group-rules", {"security_group_rule": rule})
        except AlreadyThere:
            return


def _wanted(options: Options, *, group: str) -> list[Json]:
    common = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4"}
    rules: list[Json] = [{**common, "remote_group_id": group}]
    for prefix in options.allowed_from:
        source = {**common, "ethertype": "IPv6" if ":" in prefix else "IPv4", "remote_ip_prefix": prefix}
        for opening in options.ingress:
            ports = {"port_range_min": opening.first, "port_range_max": opening.last} if opening.first else {}
            rules.append({**source, "protocol": opening.protocol, **ports})
    return rules


def _essence(rule: Json) -> tuple[Any, ...]:
    return tuple(rule.get(key) for key in COMPARED)
