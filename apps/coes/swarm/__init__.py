"""Docker Swarm: dockerd behind mutual TLS on every host, in swarm mode."""

from apps.coes.swarm.coe import Swarm

__all__ = ["Swarm"]
