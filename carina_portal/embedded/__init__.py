"""The one-command local stack: everything the portal needs, started on this machine and stopped again.

`python -m carina_portal.embedded run` is what `make run` ends in; tests and benchmarks use `carina_portal.embedded.stack.Stack`.
"""
