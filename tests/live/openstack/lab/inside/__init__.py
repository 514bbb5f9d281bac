"""What the lab adds to OpenStack's own services. Runs in the system's Python, beside Nova and Neutron, never in the project's."""
