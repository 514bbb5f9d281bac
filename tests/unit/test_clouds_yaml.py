"""Entries of a clouds.yaml as operators write them, right and wrong."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import loading

from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.openstack.clouds_yaml import (
    PEM,
    CloudsYamlRefused,
    read_clouds_file,
    read_clouds_text,
    secret_options,
    settings_and_secrets,
)
from apps.hosts.providers.openstack.session import DISCOVERY, connect

PASSWORD_ENTRY = """
clouds:
  acme:
    auth: {auth_url: "https://keystone.example:5000/v3", username: alice, password: s3cret, project_name: acme,
           user_domain_name: Default, project_domain_name: Default}
    region_name: north
    interface: internal
    compute_endpoint_override: https://nova.example/v2.1
"""
TWO_REGIONS = """
clouds:
  big:
    auth: {auth_url: "https://keystone.example/v3", username: alice, password: s3cret, project_name: acme}
    regions: [north, {name: south, values: {interface: internal}}]
  wrong: 3
"""
PASSWORD = {"auth_url": "https://keystone.example/v3", "username": "alice", "user_domain_name": "Default", "password": "s3cret"}
SECRETLESS = """
clouds:
  acme:
    auth: {auth_url: "https://keystone.example/v3", username: alice, project_name: acme}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "clouds.yaml"
    path.write_text(PASSWORD_ENTRY)
    return path


def refusal(text: str, entry: str = "") -> str:
    with pytest.raises(CloudsYamlRefused) as caught:
        read_clouds_text(text=text, entry=entry)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_the_password_is_kept_apart_from_everything_else(file: Path) -> None:
    (found,) = read_clouds_file(path=file, entry="acme")
    assert found.region == "north"
    assert found.secrets == {"password": "s3cret"}
    assert "s3cret" not in json.dumps(found.settings()) + repr(found)
    assert found.config["auth"]["username"] == "alice"
    assert (found.config["interface"], found.config["compute_endpoint_override"]) == ("internal", "https://nova.example/v2.1")


def test_an_application_credential_keeps_its_id_and_hides_its_secret() -> None:
    text = """
clouds:
  acme:
    auth_type: v3applicationcredential
    auth: {auth_url: "https://k/v3", application_credential_id: abc, application_credential_secret: hidden}
"""
    (found,) = read_clouds_text(text=text)
    assert found.secrets == {"application_credential_secret": "hidden"}
    assert found.config["auth"] == {"auth_url": "https://k/v3", "application_credential_id": "abc"}


def test_the_credential_that_only_looks_is_kept_beside_the_other() -> None:
    (entry,), (looker,) = read_clouds_text(text=PASSWORD_ENTRY), read_clouds_text(text=PASSWORD_ENTRY.replace("s3cret", "0ther"))
    settings, secrets = settings_and_secrets(entry=entry, discovery=looker)
    assert set(settings) == {"config", "discovery_config"}
    assert secrets == {"password": "s3cret", "discovery_password": "0ther"}


def test_environment_variables_change_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_clouds_file(path=file, entry="acme")
    for name, value in {
        "OS_USERNAME": "mallory",
        "OS_PASSWORD": "other",
        "OS_REGION_NAME": "moon",
        "OS_CLOUD": "moon",
        "OS_CLIENT_CONFIG_FILE": "/x",
    }.items():
        monkeypatch.setitem(os.environ, name, value)
    assert read_clouds_file(path=file, entry="acme") == before


def test_a_secure_yaml_beside_the_file_brings_the_password(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text(SECRETLESS)
    (tmp_path / "secure.yaml").write_text("clouds: {acme: {auth: {password: from-secure}}}")
    (found,) = read_clouds_file(path=tmp_path / "clouds.yaml", entry="acme")
    assert found.secrets == {"password": "from-secure"}


def test_each_region_comes_with_its_own_values_and_other_entries_may_be_wrong() -> None:
    north, south = read_clouds_text(text=TWO_REGIONS, entry="big")
    assert [north.region, south.region] == ["north", "south"]
    assert [north.config["interface"], south.config["interface"]] == ["public", "internal"]


def test_only_the_regions_asked_for_come_and_an_unknown_one_is_refused() -> None:
    (found,) = read_clouds_text(text=TWO_REGIONS, entry="big", regions=["south"])
    assert found.region == "south"
    with pytest.raises(CloudsYamlRefused, match=r"Region moon is not a valid region name .* north,south"):
        read_clouds_text(text=TWO_REGIONS, entry="big", regions=["moon"])


def test_the_certificate_a_file_names_is_read_in(file: Path) -> None:
    file.with_name("ca.pem").write_text(f"{PEM}\nabc\n")
    file.write_text(PASSWORD_ENTRY + "    cacert: ca.pem\n")
    (found,) = read_clouds_file(path=file, entry="acme")
    assert found.cacert_pem.startswith(PEM)
    assert found.settings()["cacert_pem"] == found.cacert_pem
    assert "cacert" not in found.config


def test_a_pasted_text_cannot_read_files_of_the_portal() -> None:
    assert "cacert" in refusal(PASSWORD_ENTRY + "    cacert: /etc/hostname\n")


def test_a_cacert_that_is_no_certificate_or_not_there_is_refused(file: Path) -> None:
    file.write_text(PASSWORD_ENTRY + "    cacert: clouds.yaml\n")
    with pytest.raises(CloudsYamlRefused, match="holds no PEM certificate"):
        read_clouds_file(path=file, entry="acme")
    file.write_text(PASSWORD_ENTRY + "    cacert: gone.pem\n")
    with pytest.raises(CloudsYamlRefused, match=r"gone\.pem cannot be read"):
        read_clouds_file(path=file, entry="acme")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a clouds.yaml"),
        ("- a list", "is not a clouds.yaml"),
        ("clouds: 3", "is not a clouds.yaml"),
        ("clouds: {acme: [", "is not YAML: line 1"),
        ("clouds: {acme: 3}", "nothing usable at “acme”"),
        ("clouds: {acme: {auth: 3}}", "nothing usable at “acme”"),
        ("clouds: {acme: {auth: {username: x, password: y}}}", "auth_url"),
        ("clouds: {acme: {auth_type: magic, auth: {auth_url: 'http://k', password: y}}}", "The plugin magic could not be found"),
        ("clouds: {acme: {profile: nowhere, auth: {username: x, password: y}}}", "vendor profile nowhere"),
        ("clouds: {acme: {cert: c.pem, key: k.pem, auth: {auth_url: 'http://k', username: x, password: y}}}", "client certificate"),
        (SECRETLESS, "has no secret to sign in with"),
        ("clouds: {a: {auth: {}}, b: {auth: {}}}", "has several clouds (a, b)"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, said: str) -> None:
    assert said in refusal(text)


def test_an_entry_that_is_not_there_is_refused_with_those_that_are(file: Path) -> None:
    with pytest.raises(CloudsYamlRefused, match="has no cloud “moon”; known are: acme"):
        read_clouds_file(path=file, entry="moon")


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CloudsYamlRefused, match="cannot be read: No such file"):
        read_clouds_file(path=tmp_path / "clouds.yaml", entry="acme")
    (tmp_path / "clouds.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CloudsYamlRefused, match="is not text"):
        read_clouds_file(path=tmp_path / "clouds.yaml", entry="acme")


LOADERS: dict[str, loading.BaseLoader[Any]] = loading.get_available_plugin_loaders()
PLAIN = {
    "auth_url": "https://keystone.example/v3",
    "endpoint": "https://nova.example",
    "access_token_endpoint": "https://sso.example/token",
    "application_credential_id": "abc",
    "client_id": "portal",
    "device_authorization_endpoint": "https://sso.example/device",
    "username": "alice",
    "user_domain_name": "Default",
}
"""What ways to sign in ask for without marking it as required."""


@pytest.mark.parametrize("auth_type", sorted(name for name, loader in LOADERS.items() if any(each.secret for each in loader.get_options())))
def test_what_a_way_to_sign_in_marks_as_secret_is_kept_for_the_vault_and_used_again(auth_type: str) -> None:
    options = LOADERS[auth_type].get_options()
    hidden = {each.dest: f"s3cret-{each.dest}" for each in options if each.secret}
    auth = {each.dest: PLAIN.get(each.dest, "some") for each in options if each.required or each.dest in PLAIN} | hidden
    (found,) = read_clouds_text(text=json.dumps({"clouds": {"acme": {"auth_type": auth_type, "auth": auth}}}))
    settings, secrets = settings_and_secrets(entry=found, discovery=found)
    assert hidden.items() <= secrets.items()
    assert "s3cret" not in json.dumps(settings) + repr(found)
    access = CloudAccess(name="lab", installation="c0de", settings=settings, secrets=secrets)
    for prefix in ("", DISCOVERY):
        connection = connect(access, prefix=prefix)
        assert connection.config.get_auth_args().items() >= auth.items()
        connection.close()


def test_a_second_factor_is_as_secret_as_the_first() -> None:
    auth = {**PASSWORD, "auth_methods": ["v3password", "v3totp"], "passcode": "s3cret-2"}
    (found,) = read_clouds_text(text=json.dumps({"clouds": {"acme": {"auth_type": "v3multifactor", "auth": auth}}}))
    assert found.secrets == {"password": "s3cret", "passcode": "s3cret-2"}


def test_no_secret_is_called_like_one_of_the_credential_that_only_looks() -> None:
    assert not [name for name in secret_options() if name.startswith(DISCOVERY)]


def test_an_option_that_the_way_to_sign_in_does_not_know_is_refused() -> None:
    text = json.dumps({"clouds": {"acme": {"auth": {**PASSWORD, "pasword_typo": "x"}}}})
    assert "pasword_typo" in refusal(text)
