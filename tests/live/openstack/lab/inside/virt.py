"""Hypervisors without machines: Nova's own fake driver, whose size, memory and manners a test decides.

In the host's state directory (`state_path`) lie
  size.json       {"vcpus": 3, "memory_mb": 8192, "local_gb": 100}
  manners.json    {"spawn": "hang", "destroy": "refuse", "seconds": 5}, read again at every step of every call; absent means good manners
  instances.json  what runs here, so that a nova-compute that was killed still knows it
"""

import json
import os
import time
from pathlib import Path

import nova.conf
from nova import exception
from nova.virt import fake

CONF = nova.conf.CONF
POLL_SECONDS = 0.2


class LabDriver(fake.FakeDriver):
    """A fake hypervisor that survives its nova-compute and can be told to misbehave."""

    def __init__(self, virtapi, read_only=False):
        self._folder = Path(CONF.state_path)
        for name, value in self._read("size.json").items():
            setattr(self, name, value)
        super().__init__(virtapi, read_only)
        for uuid, known in self._read("instances.json").items():
            self.instances[uuid] = fake.FakeInstance(known["name"], known["state"], uuid)
            self.resources.claim(**known["claim"])
            self.instances[uuid].claim = known["claim"]

    def spawn(self, context, instance, image_meta, *arguments, **named):
        """Start a server, or what manners.json says instead."""
        self._behave("spawn", instance)
        super().spawn(context, instance, image_meta, *arguments, **named)
        flavor = instance.flavor
        self.instances[instance.uuid].claim = {"vcpus": flavor.vcpus, "mem": flavor.memory_mb, "disk": flavor.root_gb}
        self._save()

    def destroy(self, context, instance, *arguments, **named):
        """End a server, or what manners.json says instead."""
        self._behave("destroy", instance)
        super().destroy(context, instance, *arguments, **named)
        self._save()

    def power_on(self, context, instance, network_info, *arguments, **named):
        """Switch it on."""
        super().power_on(context, instance, network_info, *arguments, **named)
        self._save()

    def power_off(self, instance, *arguments, **named):
        """Switch it off."""
        super().power_off(instance, *arguments, **named)
        self._save()

    def detach_interface(self, context, instance, vif):
        """Take a port from a server; one plugged before a restart is not in memory and is as welcome to go."""
        self._interfaces.pop(vif["id"], None)

    def _behave(self, step, instance):
        started = time.monotonic()
        while True:
            manners = self._read("manners.json")
            how = manners.get(step, "")
            if how in {"fail", "refuse"}:
                raise exception.NovaException(f"The lab was told to {how} this {step} of {instance.uuid}.")
            if how != "hang" and (how != "delay" or time.monotonic() - started >= manners["seconds"]):
                return
            time.sleep(POLL_SECONDS)  # eventlet's: other requests go on

    def _read(self, name):
        try:
            return json.loads((self._folder / name).read_text())
        except FileNotFoundError:
            return {}

    def _save(self):
        known = {
            uuid: {"name": found.name, "state": found.state, "claim": getattr(found, "claim", {})} for uuid, found in self.instances.items()
        }
        temporary = self._folder / f".instances.{os.getpid()}"
        temporary.write_text(json.dumps(known))
        temporary.replace(self._folder / "instances.json")
