"""Hosts from OpenStack: Nova instances with ports, networks and floating IPs of Neutron, through openstacksdk."""

from apps.hosts.providers.openstack.provider import OpenStackProvider

__all__ = ["OpenStackProvider"]
