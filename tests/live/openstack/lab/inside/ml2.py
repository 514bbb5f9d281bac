"""Neutron's side of the lab: ports of the lab's hypervisors are bound without an agent on them."""

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api
from oslo_config import cfg

HOSTS = ("fake-", "real-", "net-")

cfg.CONF.register_opts([cfg.StrOpt("bridge", default="")], "carina_lab")


class LabMechanismDriver(api.MechanismDriver):
    """Binds every port of hosts named fake-*, real-* and net-* to the lab's bridge and calls it active."""

    connectivity = portbindings.CONNECTIVITY_L2

    def initialize(self):
        """There is nothing to prepare."""

    def bind_port(self, context):
        """Bind to the first segment, as a plain Linux bridge would be (see neutron_lib.plugins.ml2.api)."""
        if (context.host or "").startswith(HOSTS):
            details = {portbindings.CAP_PORT_FILTER: False, "bridge_name": cfg.CONF.carina_lab.bridge}
            segment = context.segments_to_bind[0][api.ID]
            context.set_binding(segment, portbindings.VIF_TYPE_BRIDGE, details, status=constants.PORT_STATUS_ACTIVE)
