"""An orchestrator for hosts without machines: fake hypervisors boot nothing that could answer."""
