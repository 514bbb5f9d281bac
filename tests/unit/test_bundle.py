import shutil
import stat
import subprocess
import zipfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from apps.coes.base import all_coes
from apps.coes.contracts import Role, ServerIdentity
from apps.coes.swarm import Swarm
from apps.credentials.bundles import build_zip

FILES: dict[str, str | bytes] = {
    "key.pem": b"secret",
    "cert.pem": b"certificate",
    "ca.pem": b"authority",
    "README.md": "Grüße\n",
    "docker.cmd": "a\r\nb\r\n",
}


def test_the_zip_is_one_folder_in_fixed_order_and_the_same_every_time() -> None:
    content = build_zip(bay="web", files=FILES)
    assert zipfile.ZipFile(BytesIO(content)).namelist() == [
        f"web/{name}" for name in ("", "README.md", "ca.pem", "cert.pem", "docker.cmd", "key.pem")
    ]
    assert build_zip(bay="web", files=dict(reversed(FILES.items()))) == content


def test_unpacked_by_the_real_unzip_only_the_owner_reads_the_key(tmp_path: Path) -> None:
    if shutil.which("unzip") is None:
        pytest.fail("unzip is not installed here, so modes are not proved: apt-get install unzip")
    (tmp_path / "web.zip").write_bytes(build_zip(bay="web", files=FILES))
    subprocess.run(["unzip", "-q", "web.zip"], cwd=tmp_path, check=True, umask=0o022)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "web").iterdir()}
    assert modes == {**dict.fromkeys(FILES, 0o644), "key.pem": 0o600}
    assert stat.S_IMODE((tmp_path / "web").stat().st_mode) == 0o755
    assert (tmp_path / "web" / "README.md").read_text(encoding="utf-8") == "Grüße\n"
    assert (tmp_path / "web" / "docker.cmd").read_bytes() == b"a\r\nb\r\n"


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "a\\b", "C:evil", "", ".", "..", "nul\0"])
def test_names_that_lead_out_of_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        build_zip(bay="web", files={name: "x"})
    with pytest.raises(ValueError, match="plain file name"):
        build_zip(bay=name, files={"a": "x"})


def test_the_readme_says_how_to_use_it_until_when_and_what_does_not_work_here() -> None:
    coe = Swarm()
    notices = coe.notices(limitations=["no_ip_vs", "something_else", "no_disk_quota", "no_ip_vs"])
    assert [notice.code for notice in notices] == ["no_ip_vs", "no_disk_quota"]
    until = datetime(2027, 2, 20, 9, 30, tzinfo=UTC)
    files = coe.bundle_files(bay="web", endpoint="tcp://10.0.0.5:2376", version="26.1.5", notices=notices, expires_at=until)
    assert sorted(files) == ["README.md", "docker.cmd", "docker.env", "docker.fish", "docker.ps1"]
    readme = files["README.md"]
    for text in (
        "docker context create web --docker",
        "host=tcp://10.0.0.5:2376",
        "--endpoint-mode dnsrr",
        "mode=host",
        "20 February 2027 at 09:30 UTC",
    ):
        assert text in readme
    assert "None" not in readme
    assert "ip_vs" not in coe.bundle_files(bay="web", endpoint="tcp://10.0.0.5:2376", version="26.1.5", notices=[])["README.md"]


def test_the_server_key_alone_among_a_hosts_files_is_secret() -> None:
    identity = ServerIdentity(ca_pem=b"ca", certificate_pem=b"certificate", key_pem=b"key")
    for coe in all_coes():
        files = coe.host_files(hostname="web-1", role=Role.MANAGER, identity=identity)
        assert {file.mode for file in files if b"key" in file.content} == {"0600"}
        assert "b'key'" not in repr(files), "keys stay out of logs"
        assert {file.path: file.content for file in files}["/etc/hostname"] == b"web-1\n"
