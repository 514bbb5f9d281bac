"""How this package talks to an OpenStack: an openstacksdk connection made from a cloud's settings alone, over one careful transport.

The connection never looks at OS_* variables, clouds.yaml files or proxies of the environment.
"""

import json
import warnings
from typing import Any

from keystoneauth1 import session as keystone_session
from keystoneauth1.exceptions import ClientException, EndpointNotFound
from openstack.config.loader import OpenStackConfig
from openstack.connection import Connection
from openstack.exceptions import SDKException
from openstack.warnings import RemovedInSDK60Warning

from apps.hosts.contracts import CloudCredentialsRejected, CloudRefused
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.openstack.transport import Transport

DISCOVERY = "discovery_"
"""What the settings and secrets of the credential that only looks begin with."""
ANSWER_SECONDS = 30.0


def connect(access: CloudAccess, *, prefix: str = "") -> Connection:
    """Return a connection to the cloud; nothing is asked of it yet.

    `settings["config"]` is a clouds.yaml entry as JSON without its secrets, `settings["cacert_pem"]` the authority of its
    certificates, `settings["timeout"]` the seconds an answer may take; secrets (password, application_credential_secret, token …)
    go into its `auth`. With the `prefix` “discovery_” the config and the secrets whose names begin so are used instead.
    Raises CloudRefused for settings that make no sense and CloudCredentialsRejected for credentials that are incomplete.
    """
    config = _config_of(access, prefix=prefix)
    config["auth"] = {**config.get("auth", {}), **_secrets_of(access, prefix=prefix)}
    transport = Transport(
        authorities=access.settings.get(f"{prefix}cacert_pem", "") or access.settings.get("cacert_pem", ""),
        seconds=_seconds(access.settings.get("timeout", "")),
    )

    class Ours(CloudSession):
        carried_by = transport

    loader = OpenStackConfig(
        config_files=[],
        vendor_files=[],
        secure_files=[],
        load_yaml_config=False,
        load_envvars=False,
        app_name="carina",
        session_constructor=Ours,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RemovedInSDK60Warning)  # about metrics, whether or not any are asked for
            return Connection(config=loader.get_one(**config))
    except (SDKException, ClientException, AttributeError, KeyError, TypeError, ValueError) as error:  # all of them mean the settings
        kind = CloudCredentialsRejected if "auth" in str(error).lower() else CloudRefused
        raise kind(f"The settings of the cloud {access.name} cannot be used: {_one_line(error)}.") from None


def has_volumes(connection: Connection) -> bool:
    """Whether the catalogue has Cinder. Not asked by `has_service`, which writes a warning to the log each time there is none."""
    region, interface = connection.config.get_region_name("block-storage"), connection.config.get_interface("block-storage")
    try:
        found = connection.session.get_endpoint(
            service_type="block-storage", interface=interface, region_name=region or None, skip_discovery=True
        )
        return bool(found)
    except EndpointNotFound:
        return False


class CloudSession(keystone_session.Session):
    """keystoneauth's session over our transport; it logs neither headers nor bodies, which hold tokens and hosts' keys."""

    carried_by: Transport
    """What all requests of this session go through."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "timeout": None})
        # The one it made itself, because it leaves connections open of one that was given to it.
        self.session.trust_env = False
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, self.carried_by)

    def _http_log_request(self, *_: Any, **__: Any) -> None:
        """Say nothing: the transport writes a line for every request."""

    def _http_log_response(self, *_: Any, **__: Any) -> None:
        """Say nothing."""


def _config_of(access: CloudAccess, *, prefix: str) -> dict[str, Any]:
    text = access.settings.get(f"{prefix}config", "")
    if not text:
        raise CloudRefused(f"The cloud {access.name} has no setting {prefix}config: add it by manage.py add_cloud from a clouds.yaml.")
    try:
        config = json.loads(text)
    except ValueError:
        raise CloudRefused(f"The setting {prefix}config of the cloud {access.name} is not JSON.") from None
    if not isinstance(config, dict) or not isinstance(config.get("auth", {}), dict):
        raise CloudRefused(f"The setting {prefix}config of the cloud {access.name} is not an entry of a clouds.yaml.")
    # The transport is told its authorities, and files of the machine the entry was written on are not here.
    return {name: value for name, value in config.items() if name not in {"cacert", "cert", "key", "api_timeout"}}


def _secrets_of(access: CloudAccess, *, prefix: str) -> dict[str, str]:
    """Return all that was kept apart from this credential's `auth`, under the names it had there."""
    mine = {name: secret for name, secret in access.secrets.items() if name.startswith(DISCOVERY) == (prefix == DISCOVERY)}
    return {name.removeprefix(prefix): secret for name, secret in mine.items()}


def _seconds(text: str) -> float:
    try:
        return float(text) if text else ANSWER_SECONDS
    except ValueError:
        raise CloudRefused(f"The cloud's setting timeout must be a number of seconds, not {text!r}.") from None


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
