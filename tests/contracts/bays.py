"""Bays as the provider contract suite asks a cloud for them."""

from dataclasses import dataclass, field

from apps.hosts.contracts import HostFile, HostKind, HostSize, HostSpec, NetworkSpec, Owner, TenantLimits

SMALL = HostSize(vcpus=1, memory_mib=256, disk_gib=2, processes=500)
ROOMY = TenantLimits(hosts=10, vcpus=20, memory_mib=8192, processes=20000)


@dataclass(kw_only=True)
class Bay:
    """What one bay asks of a cloud."""

    network: NetworkSpec
    image: str
    hosts: list[HostSpec] = field(default_factory=list)

    @property
    def owner(self) -> Owner:
        return self.network.owner

    def host(self, number: int = 1, *, size: HostSize = SMALL) -> HostSpec:
        base = self.network.cidr.rpartition(".")[0]
        files = (
            HostFile(path="/etc/docker/tls/ca.pem", content=b"certificate of host %d\n" % number),
            HostFile(path="/srv/carina/deep/down.txt", content=b"folders are made\n", mode="0600"),
        )
        spec = HostSpec(
            owner=self.owner,
            ref=f"web-{number}-{self.owner.bay[:6]}",
            hostname=f"web-{number}",
            kind=HostKind.CONTAINER,
            image=self.image,
            size=size,
            cidr=self.network.cidr,
            address=f"{base}.{10 + number}",
            files=files,
        )
        if all(known.ref != spec.ref for known in self.hosts):
            self.hosts.append(spec)
        return spec
