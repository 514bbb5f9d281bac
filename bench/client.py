"""The portal as its users meet it: REST and the zip. Used by benchmarks and live tests; knows nothing of the portal's insides."""

import io
import os
import shutil
import subprocess
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

PATIENCE_SECONDS = 300.0
AGAIN_SECONDS = 3.0


class PortalClient:
    """A user with a token in one tenant."""

    def __init__(self, *, base_url: str, token: str, tenant: str) -> None:
        self.http = httpx.Client(
            base_url=f"{base_url}/api/v1/tenants/{tenant}/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(60),
            follow_redirects=False,
        )
        self.put_off = 0
        """How often the portal said 503: ask again later."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def create(self, *, name: str, node_count: int, flavor: str = "c1.small", **more: Any) -> dict[str, Any]:
        """Ask for a Swarm bay and return it."""
        body = {"name": name, "coe": "swarm", "flavor": flavor, "node_count": node_count, **more}
        return self._json(self._patiently(lambda: self.http.post("bays", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})))

    def get(self, name: str) -> dict[str, Any]:
        """Return the bay as it is now."""
        return self._json(self.http.get(f"bays/{name}"))

    def hosts(self, name: str) -> list[dict[str, Any]]:
        """Return the bay's hosts."""
        return list(self._json(self.http.get(f"bays/{name}/hosts"))["results"])

    def resize(self, name: str, node_count: int) -> dict[str, Any]:
        """Ask for another number of hosts."""
        return self._json(self._patiently(lambda: self.http.patch(f"bays/{name}", json={"node_count": node_count})))

    def delete(self, name: str) -> None:
        """Ask for the bay to be deleted."""
        self._json(self.http.delete(f"bays/{name}"))

    def wait(self, name: str, *, status: str = "active", patience: float = 180.0, every: float = 0.05) -> dict[str, Any]:
        """Return the bay once it has the status; raises TimeoutError with its last state, RuntimeError when it ends as an error."""
        deadline = time.monotonic() + patience
        while True:
            bay = self.get(name)
            if bay["status"] == status:
                return bay
            if bay["status"] == "error" and status != "error":
                raise RuntimeError(f"{name} ended as an error: {bay['status_reason']}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is {bay['status']} after {patience} s: {bay['status_reason']} {bay['operation']}")
            time.sleep(every)

    def wait_gone(self, name: str, *, patience: float = 120.0, every: float = 0.05) -> None:
        """Return once there is no such bay any more."""
        deadline = time.monotonic() + patience
        while self.http.get(f"bays/{name}").status_code != httpx.codes.NOT_FOUND:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is still there after {patience} s: {self.get(name)}")
            time.sleep(every)

    def bundle(self, name: str, *, into: Path) -> "Docker":
        """Download the zip and unzip it; return a docker client that has nothing else."""
        answer = self.http.post(f"bays/{name}/bundle", json={}).raise_for_status()
        return unzip(content=answer.content, into=into)

    def _patiently(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Ask again while the portal says that something does not answer now, as clients do after a 503."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := ask()).status_code == httpx.codes.SERVICE_UNAVAILABLE and time.monotonic() < deadline:
            self.put_off += 1
            time.sleep(AGAIN_SECONDS)
        return answer

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise RuntimeError(f"{answer.request.method} {answer.request.url} -> {answer.status_code}: {answer.text[:500]}")
        return dict(answer.json())


class Docker:
    """The real docker command with the zip's files alone, entered as its README says: by sourcing docker.env."""

    def __init__(self, *, folder: Path) -> None:
        self.folder = folder
        sourced = subprocess.run(
            ["/bin/bash", "-c", f'. "{folder}/docker.env" && env'], check=True, capture_output=True, text=True, env={"PATH": path()}
        )
        self.env = dict(line.split("=", 1) for line in sourced.stdout.splitlines() if line.startswith(("DOCKER_", "CARINA_")))
        self.env |= {"PATH": path(), "HOME": str(folder)}

    def __call__(self, *arguments: str, stdin: bytes | None = None, check: bool = True, timeout: float = 120) -> str:
        """Carry out one docker command and return what it printed; raises CalledProcessError with its complaint."""
        done = subprocess.run(["docker", *arguments], env=self.env, input=stdin, capture_output=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)} -> {done.returncode}: {done.stderr.decode()}{done.stdout.decode()}")
        return done.stdout.decode() if check else f"{done.stdout.decode()}{done.stderr.decode()}"


def unzip(*, content: bytes, into: Path) -> Docker:
    """Unpack a bundle with the permissions it carries, as the unzip program does."""
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        names = bundle.namelist()
        for item in bundle.infolist():
            target = bundle.extract(item, into)
            if mode := item.external_attr >> 16 & 0o777:
                os.chmod(target, mode)  # noqa: PTH101 - a path of the zip, as text
    return Docker(folder=into / names[0].split("/")[0])


def path() -> str:
    """Return a PATH with docker on it: the machine's, or the one the test tools unpacked."""
    docker = shutil.which("docker", path=f"{os.environ.get('PATH', '')}:/usr/local/bin:{Path.home()}/.cache/carina/bin")
    return f"{Path(docker).parent}:/usr/local/bin:/usr/bin:/bin" if docker else "/usr/local/bin:/usr/bin:/bin"
