"""New certificates for hosts that run, through their engines and nothing else: the same on every cloud.

An engine reads certificates only when it starts, and to start it again would stop what runs on it. So TLS ends in front of it, in a program
that reads them anew at any time (`deploy/node-image`, `carina-front`). The files come to the host as `docker cp` brings them: into the
file system of a container that has the folder mounted and is never started. A unit of the host sees them and does the rest.
"""

import io
import ssl
import tarfile
from time import monotonic, sleep

from apps.coes.contracts import ClientIdentity, EngineNotReady, EngineRefused, Node, ServerIdentity
from apps.coes.docker_api import DockerApi, EngineSaysNo

FOLDER = "/etc/docker/tls"
_IMAGE, _CONTAINER = "carina-certificates:1", "carina-certificates"
_MARK = "server.pem.key"
"""What only hosts have whose image can do this: the name under which the front looks for the key."""

_LOOK_AGAIN = 0.1
_GONE_OR_TAKEN = (404, 409)
_EMPTY_TAR = bytes(1024)


def deliver(*, api: DockerApi, node: Node, server: ServerIdentity, cut: bool) -> None:
    """Lay the files where the host takes them from. Raises EngineNotReady, EngineRefused."""
    try:
        _deliver(api=api, node=node, files=_archive(server=server, cut=cut))
    except EngineSaysNo as error:
        if error.status in _GONE_OR_TAKEN:  # another attempt, whose worker was thought dead, is at it too
            raise EngineNotReady(f"Somebody else is writing to {node.hostname} at the same moment.") from None
        raise


def replace(*, node: Node, identity: ClientIdentity, server: ServerIdentity, cut: bool, patience: float) -> None:
    """Bring the files and wait until connections show it; see `Coe.replace_certificate`."""
    with DockerApi(identity=identity) as api:
        deliver(api=api, node=node, server=server, cut=cut)
    wait_until_served(node=node, server=server, patience=patience)


def accepts(*, node: Node, identity: ClientIdentity) -> bool:
    """Tell whether a new connection with this identity works. Raises EngineNotReady."""
    with DockerApi(identity=identity) as api:
        try:
            api.ping(node=node)
        except EngineSaysNo:
            raise
        except EngineRefused:
            return False
        return True


def wait_until_served(*, node: Node, server: ServerIdentity, patience: float) -> None:
    """Return once the engine shows the certificate of `server`. Raises EngineNotReady when it does not within `patience` seconds."""
    wanted = ssl.PEM_cert_to_DER_cert(server.certificate_pem.decode("ascii"))
    deadline = monotonic() + patience
    while True:
        try:
            shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(node.reach, timeout=1.0))
        except (OSError, ValueError):
            shown = b""
        if shown == wanted:
            return
        if monotonic() > deadline:
            raise EngineNotReady(f"{node.hostname} has got a new certificate and does not show it yet.")
        sleep(_LOOK_AGAIN)


def _deliver(*, api: DockerApi, node: Node, files: bytes) -> None:
    container = f"/containers/{_CONTAINER}"
    api.delete(node=node, path=container, params={"force": "1"})
    name, _, tag = _IMAGE.partition(":")
    api.send_tar("POST", node=node, path="/images/create", params={"fromSrc": "-", "repo": name, "tag": tag}, content=_EMPTY_TAR)
    body = {
        "Image": _IMAGE,
        "Cmd": ["/never-started"],
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "Mounts": [{"Type": "bind", "Source": FOLDER, "Target": "/tls"}]},
    }
    api.post(node=node, path="/containers/create", params={"name": _CONTAINER}, body=body)
    try:
        if not api.has_file(node=node, container=_CONTAINER, path=f"/tls/{_MARK}"):
            raise EngineRefused(
                f"{node.hostname} was made from a node image whose engine cannot change its certificate while it runs: replace the host."
            )
        api.send_tar("PUT", node=node, path=f"{container}/archive", params={"path": "/tls"}, content=files)
    finally:
        api.delete(node=node, path=container, params={"force": "1"})
        api.delete(node=node, path=f"/images/{_IMAGE}", params={"force": "1"})


def _archive(*, server: ServerIdentity, cut: bool) -> bytes:
    """Return the files as a tar; `complete` comes last, and tells the host that nothing is missing."""
    contents = (
        ("ca.pem", server.ca_pem, 0o644),
        ("server.pem", server.certificate_pem, 0o644),
        ("server-key.pem", server.key_pem, 0o600),
        ("how", b"restart\n" if cut else b"reload\n", 0o644),
        ("complete", b"", 0o644),
    )
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder = tarfile.TarInfo("next")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for name, content, mode in contents:
            entry = tarfile.TarInfo(f"next/{name}")
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
