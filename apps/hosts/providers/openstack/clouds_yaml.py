"""Reads an entry of a `clouds.yaml` as openstacksdk does, and divides it into what may be stored plainly and what is secret.

Format, vendor profiles and merging with `secure.yaml`: https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html.
Environment variables and files other than the named ones never matter: the same file gives the same cloud on every machine.
"""

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import loading
from keystoneauth1.exceptions import ClientException
from openstack.config.cloud_region import CloudRegion
from openstack.config.defaults import get_defaults
from openstack.config.loader import OpenStackConfig
from openstack.exceptions import SDKException
from openstack.warnings import ConfigurationWarning, RemovedInSDK60Warning
from requests.exceptions import RequestException

from apps.hosts.providers.openstack.session import DISCOVERY

PEM = "-----BEGIN CERTIFICATE-----"
SECRET_NAME = re.compile(r"password|secret|token|passcode|private_key")
"""Options of plugins that forgot to mark them as secret."""
FILES = ("cacert", "cert", "key")
NOT_KEPT = (*FILES, "auth", "regions", "profile", "cloud", "status", "message", "vendor_hook")
"""What the stored settings leave out: contents of files are kept beside it, the rest is for choosing the entry or for people."""
ALWAYS = ("auth_type", "interface", "verify")
DEFAULTS = get_defaults()
"""What the library would fill in by itself is not stored, but for what `ALWAYS` names."""


class CloudsYamlRefused(Exception):
    """The file or the entry cannot be used; `str()` is one sentence that says what is wrong in it and what to write instead."""


@dataclass(frozen=True, kw_only=True)
class RegionEntry:
    """One region of an entry. `config` is plain JSON, `secrets` go into its `auth`; `cacert_pem` is the authority to trust, or empty."""

    region: str
    config: dict[str, Any]
    secrets: dict[str, str] = field(repr=False)
    cacert_pem: str

    def settings(self, *, prefix: str = "") -> dict[str, str]:
        """How `Cloud.settings` holds it; `prefix` is "discovery_" for the credential that only looks."""
        found = {f"{prefix}config": json.dumps(self.config, sort_keys=True)}
        return found | ({f"{prefix}cacert_pem": self.cacert_pem} if self.cacert_pem else {})


def settings_and_secrets(*, entry: RegionEntry, discovery: RegionEntry | None = None) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a cloud's row keeps of an entry and of the one for discovery: plain settings, and secrets for the vault."""
    settings, secrets = entry.settings(), dict(entry.secrets)
    if discovery is not None:
        settings |= discovery.settings(prefix=DISCOVERY)
        secrets |= {f"{DISCOVERY}{name}": secret for name, secret in discovery.secrets.items()}
    return settings, secrets


def read_clouds_file(*, path: Path, entry: str, regions: Sequence[str] = ()) -> list[RegionEntry]:
    """Return the regions of `entry` (all, or those asked for) from the file; a `secure.yaml` beside it is merged in.

    Certificates it names are read, from the file's folder if their path is relative. Raises CloudsYamlRefused.
    """
    _check_entry(text=_text_of(path), entry=entry, shown=str(path))
    secure, vendors = path.with_name("secure.yaml"), path.with_name("clouds-public.yaml")
    found = _load(source=str(path), beside=(secure, vendors), entry=entry, regions=regions, subject=f"The cloud “{entry}” in {path}")
    return [_entry(region=region, subject=f"The cloud “{entry}” in {path}", folder=path.parent) for region in found]


def read_clouds_text(*, text: str, entry: str = "", regions: Sequence[str] = ()) -> list[RegionEntry]:
    """Return the regions of `entry` from the text of a clouds.yaml; of its only entry if none is named. Raises CloudsYamlRefused.

    Who sends a text is not on this machine: a certificate must be in it as PEM, paths are refused.
    """
    entry = _check_entry(text=text, entry=entry, shown="The text")
    with _in_memory(text) as source:
        found = _load(source=source, beside=(), entry=entry, regions=regions, subject=f"The cloud “{entry}”")
    return [_entry(region=region, subject=f"The cloud “{entry}”", folder=None) for region in found]


def _check_entry(*, text: str, entry: str, shown: str) -> str:
    """Return the name of the entry that is meant, if the text has the shape of a clouds.yaml: the library does not check it."""
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CloudsYamlRefused(f"{shown} is not YAML: {_one_line(error)}.") from None
    clouds = whole.get("clouds") if isinstance(whole, dict) else None
    if not isinstance(clouds, dict) or not clouds:
        raise CloudsYamlRefused(f"{shown} is not a clouds.yaml: it must begin with “clouds:” and have at least one named entry below.")
    names = ", ".join(sorted(str(name) for name in clouds))
    if not entry and len(clouds) > 1:
        raise CloudsYamlRefused(f"{shown} has several clouds ({names}): say which one is meant.")
    entry = entry or str(next(iter(clouds)))
    if entry not in clouds:
        raise CloudsYamlRefused(f"{shown} has no cloud “{entry}”; known are: {names}.")
    if not isinstance(clouds[entry], dict) or not isinstance(clouds[entry].get("auth", {}), dict):
        raise CloudsYamlRefused(f"{shown} has nothing usable at “{entry}”: it needs “auth:” with auth_url, a user and a project below.")
    return entry


def _load(*, source: str, beside: Sequence[Path], entry: str, regions: Sequence[str], subject: str) -> list[CloudRegion]:
    secure = [str(path) for path in beside if path.name == "secure.yaml" and path.exists()]
    vendors = [str(path) for path in beside if path.name != "secure.yaml" and path.exists()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RemovedInSDK60Warning)  # about metrics, whether or not any are asked for
            warnings.simplefilter("error", ConfigurationWarning)
            return _regions_of(
                OpenStackConfig(config_files=[source], secure_files=secure, vendor_files=vendors, load_envvars=False),
                entry=entry,
                regions=regions,
            )
    except RequestException as error:
        raise CloudsYamlRefused(f"{subject} has a profile that must be fetched, which failed: {_one_line(error)}.") from None
    except (SDKException, ClientException, ConfigurationWarning, TypeError, ValueError, yaml.YAMLError) as error:  # all mean the entry
        raise CloudsYamlRefused(f"{subject} cannot be used: {_one_line(error)}.") from None


def _regions_of(config: OpenStackConfig, *, entry: str, regions: Sequence[str]) -> list[CloudRegion]:
    config.cloud_config["clouds"] = {entry: config.cloud_config["clouds"][entry]}  # others may be wrong: no concern of ours
    names = list(regions) or [region.region_name or "" for region in config.get_all()]
    if not names:  # the library has only logged what is wrong; asked for the one it says so
        return [config.get_one(entry)]
    return [config.get_one(entry, region_name=name) for name in dict.fromkeys(names)]


def _entry(*, region: CloudRegion, subject: str, folder: Path | None) -> RegionEntry:
    config = dict(region.config)
    auth = {key: value for key, value in dict(config.get("auth") or {}).items() if value is not None}
    if not auth.get("auth_url") and config.get("auth_type") not in {"none", "admin_token", "http_basic"}:
        raise CloudsYamlRefused(f"{subject} has no auth.auth_url: write the address of its Keystone there.")
    if config.get("cert") or config.get("key"):
        raise CloudsYamlRefused(f"{subject} wants a client certificate for TLS (cert, key): this portal cannot use one.")
    secrets = {key: str(value) for key, value in auth.items() if _is_secret(key)}
    if not secrets and config.get("auth_type") != "none":
        raise CloudsYamlRefused(
            f"{subject} has no secret to sign in with: write auth.password or auth.application_credential_secret "
            "there or into secure.yaml beside it."
        )
    plain = {key: value for key, value in config.items() if _is_kept(key, value)}
    plain["auth"] = {key: value for key, value in auth.items() if key not in secrets}
    cacert = _certificate(str(config.get("cacert") or ""), subject=subject, folder=folder)
    return RegionEntry(region=region.region_name or "", config=plain, secrets=secrets, cacert_pem=cacert)


def _is_secret(key: str) -> bool:
    return key in secret_options() or (SECRET_NAME.search(key) is not None and not key.endswith(("_id", "_name")))


@cache
def secret_options() -> frozenset[str]:
    """Return what any installed way to sign in marks as secret: of all of them, as v3multifactor is made of others."""
    loaders: Mapping[str, loading.BaseLoader[Any]] = loading.get_available_plugin_loaders()
    return frozenset(option.dest for loader in loaders.values() for option in loader.get_options() if option.secret)


def _certificate(value: str, *, subject: str, folder: Path | None) -> str:
    if not value or PEM in value:
        return value
    if folder is None:
        raise CloudsYamlRefused(f"{subject} has a path as cacert: write the certificate itself there, from {PEM} on.")
    path = folder / Path(value).expanduser()
    text = _text_of(path)
    if PEM not in text:
        raise CloudsYamlRefused(f"{subject} has the cacert {path}, which holds no PEM certificate.")
    return text


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise CloudsYamlRefused(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CloudsYamlRefused(f"{path} is not text.") from None


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Yield a path the library can read the text from; passwords are not written to a disk for it."""
    descriptor = os.memfd_create("clouds.yaml")
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _is_kept(key: str, value: object) -> bool:
    if key in NOT_KEPT or value is None or value == [] or key.endswith("_status_code_retries"):
        return False  # when to try again is decided in one place, not by the library
    if key not in ALWAYS and value == DEFAULTS.get(key):
        return False
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def _one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, {error.problem}"
    return " ".join(str(error).split()).rstrip(".")
