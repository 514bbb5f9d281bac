"""Hosts from Incus (or LXD 5, which speaks the same API): system containers on this machine, a remote server, or a cluster."""

from apps.hosts.providers.incus.provider import IncusProvider

__all__ = ["IncusProvider"]
