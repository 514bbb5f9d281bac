"""What users of a Swarm bay are told: limits of the cloud below, and the bundle's README."""

from collections.abc import Sequence
from datetime import datetime
from textwrap import dedent

from apps.coes.base import Notice

_NOTICES = {
    "no_ip_vs": Notice(
        code="no_ip_vs",
        title="Virtual IPs and the ingress mesh do not work here",
        text=(
            "The kernel of this cloud's servers has no ip_vs. Docker still reports services as converged, but a service's virtual IP "
            "does not answer, and a port published in the default ingress mode is refused on every host. Overlay networks themselves work: "
            "containers on different hosts reach each other."
        ),
        instead=(
            "Create services with `--endpoint-mode dnsrr`, and publish ports with `--publish mode=host,target=8080,published=8081`: "
            "names then resolve to the containers themselves, and each host that runs one answers on the published port. In a compose "
            "file write `deploy: {endpoint_mode: dnsrr}` and `ports: [{target: 8080, published: 8081, mode: host}]`. A service with dnsrr "
            "cannot publish ports in ingress mode."
        ),
    ),
    "no_disk_quota": Notice(
        code="no_disk_quota",
        title="Disk sizes are not enforced here",
        text="This cloud's storage has no quotas: all hosts share the free space of the server's disk, whatever the flavor says.",
        instead="Keep an eye on `docker system df`, and remove images and volumes you no longer need with `docker system prune`.",
    ),
}


def notices_for(*, limitations: Sequence[str]) -> list[Notice]:
    """Return the notices for those limitations that matter to Swarm, each once."""
    return [_NOTICES[code] for code in dict.fromkeys(limitations) if code in _NOTICES]


def readme(*, bay: str, endpoint: str, notices: Sequence[Notice], expires_at: datetime | None) -> str:
    """Return README.md of the bundle: how to use it from every shell, what to know, and until when it works."""
    until = f"on {expires_at:%d %B %Y at %H:%M} UTC" if expires_at else "on the date that `openssl x509 -noout -enddate -in cert.pem` shows"
    return dedent(f"""\
        # {bay}

        Everything the `docker` command needs to work on your bay **{bay}** at `{endpoint}`. `key.pem` is a secret: whoever has it
        controls the bay. The certificate expires {until}; download a new bundle then.

        ## Use it in a shell

        | shell | in this folder, type |
        |---|---|
        | bash, zsh, sh (dash, busybox) | `. ./docker.env` |
        | fish | `source docker.fish` |
        | PowerShell | `. .\\docker.ps1` |
        | cmd | `docker.cmd`, then leave the folder: in it, cmd would take `docker` for that script |

        From elsewhere, give the path: `. "/path/to/{bay}/docker.env"`. Then:

            docker info
            docker node ls
            docker run --rm hello-world
            docker stack deploy -c compose.yml my-stack

        ## Use it as a context

        A context needs no variables, and keeps its own copy of the key until `docker context rm {bay}`. In this folder:

            docker context create {bay} --docker "host={endpoint},ca=ca.pem,cert=cert.pem,key=key.pem"
            docker --context {bay} info

        ## What is in here

        | file | what it is |
        |---|---|
        | `ca.pem` | the certificate of the bay's own authority; the bay proves itself with it |
        | `cert.pem`, `key.pem` | your certificate and its private key; you prove yourself with them |
        | `docker.env`, `docker.fish`, `docker.ps1`, `docker.cmd` | set `DOCKER_HOST` and what else docker reads, and `CARINA_BAY` |
        """) + "".join(f"\n## {notice.title}\n\n{notice.text}\n\nInstead: {notice.instead}\n" for notice in notices)
