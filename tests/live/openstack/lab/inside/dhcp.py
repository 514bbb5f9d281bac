"""The DHCP agent's side of the lab: its ports hang on the lab's bridge without an agent that would plug them."""

import subprocess

from neutron.agent.linux import interface
from oslo_config import cfg

cfg.CONF.register_opts([cfg.StrOpt("bridge", default="")], "carina_lab")


class LabInterfaceDriver(interface.BridgeInterfaceDriver):
    """A pair of interfaces as for the Linux bridge agent, and the tap put on the bridge at once."""

    def plug_new(self, network_id, port_id, device_name, mac_address, bridge=None, namespace=None, prefix=None, mtu=None, **named):
        """Plug a port (see neutron.agent.linux.interface)."""
        super().plug_new(network_id, port_id, device_name, mac_address, bridge, namespace, prefix, mtu)
        tap = device_name.replace(prefix or self.DEV_NAME_PREFIX, "tap")
        subprocess.run(["ip", "link", "set", tap, "master", cfg.CONF.carina_lab.bridge], check=True)
