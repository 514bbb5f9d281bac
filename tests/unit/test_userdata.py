import base64
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apps.hosts.contracts import CloudRefused, HostFile
from apps.hosts.userdata import ENCODED_MAX_BYTES, encode, render

KEY = HostFile(path="/etc/docker/tls/server-key.pem", content=b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n", mode="0600")


def read_back(text: str) -> dict[str, Any]:
    """As cloud-init does: the mark in the first line, then YAML with the safe loader."""
    assert text.startswith("#cloud-config\n")
    body = yaml.safe_load(text)
    assert isinstance(body, dict)
    return body


def written(text: str) -> dict[str, tuple[bytes, str]]:
    entries = read_back(text)["write_files"]
    assert all((entry["encoding"], entry["owner"]) == ("b64", "root:root") for entry in entries)
    return {entry["path"]: (base64.b64decode(entry["content"], validate=True), entry["permissions"]) for entry in entries}


def test_a_host_gets_its_name_and_its_files_with_their_modes() -> None:
    text = render(hostname="shop-1", files=[KEY])
    body = read_back(text)
    assert (body["hostname"], body["preserve_hostname"], body["manage_etc_hosts"]) == ("shop-1", False, False)
    assert written(text) == {"/etc/hostname": (b"shop-1\n", "0644"), KEY.path: (KEY.content, "0600")}
    assert "runcmd" not in body


def test_commands_are_words_that_no_shell_splits() -> None:
    assert read_back(render(hostname="a", files=[], commands=[["touch", "/x; rm -rf /"]]))["runcmd"] == [["touch", "/x; rm -rf /"]]


def test_a_command_beyond_ascii_is_refused_since_json_and_yaml_write_it_differently() -> None:
    with pytest.raises(ValueError, match="beyond ASCII"):
        render(hostname="a", files=[], commands=[["echo", "\U00010000"]])


def test_a_file_of_the_engine_takes_the_place_of_ours_and_the_later_of_two_counts() -> None:
    own = HostFile(path="/etc/hostname", content=b"other\n")
    assert written(render(hostname="a", files=[KEY, own]))["/etc/hostname"] == (b"other\n", "0644")
    later = HostFile(path=KEY.path, content=b"new", mode="0640")
    assert written(render(hostname="a", files=[KEY, later]))[KEY.path] == (b"new", "0640")


@given(
    content=st.binary(max_size=2000),
    name=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="/"), min_size=1),
)
def test_any_content_and_any_name_of_a_file_comes_back_byte_for_byte(content: bytes, name: str) -> None:
    path = f"/opt/{name}"
    if name == "..":
        return
    assert written(render(hostname="a", files=[HostFile(path=path, content=content)]))[path] == (content, "0644")


def test_more_than_a_cloud_takes_is_refused_with_the_largest_file_named() -> None:
    with pytest.raises(CloudRefused, match=r"at most 65535.*/opt/big with 60000 bytes"):
        render(hostname="a", files=[KEY, HostFile(path="/opt/big", content=b"x" * 60000)])


def test_what_just_fits_is_taken_and_one_step_more_is_not() -> None:
    def of(size: int) -> str:
        return render(hostname="a", files=[HostFile(path="/opt/big", content=b"x" * size)])

    size = 30000
    while True:
        try:
            text = of(size)
        except CloudRefused:
            break
        assert len(encode(text)) <= ENCODED_MAX_BYTES
        size += 30
    assert len(encode(text)) > ENCODED_MAX_BYTES - 100


@pytest.mark.parametrize("hostname", ["", "-a", "a-", "A", "a.b", "a\nb", "a" * 64, "é"])
def test_a_name_no_host_can_have_is_refused(hostname: str) -> None:
    with pytest.raises(ValueError, match="no host name"):
        render(hostname=hostname, files=[])


@pytest.mark.parametrize("path", ["etc/x", "", "/etc/../etc/shadow", "/a\0b", "/a\nb", "/etc/", "/é", "/\U00010000"])
def test_a_path_that_is_not_absolute_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no absolute path"):
        render(hostname="a", files=[HostFile(path=path, content=b"")])


@pytest.mark.parametrize("mode", ["600", "0o600", "rw-", "0888", "4755"])
def test_a_mode_that_is_not_octal_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        render(hostname="a", files=[HostFile(path="/x", content=b"", mode=mode)])


def test_a_key_is_not_in_what_python_prints_of_a_file() -> None:
    assert "BEGIN" not in repr(KEY)
