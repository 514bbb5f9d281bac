"""What a process of tests finds in its environment before anything of Django's is imported.

Loaded with `-p` (pyproject.toml): pytest-django reads the settings before it imports any conftest.py, so there it would be too late.
"""

import os

# A worker killed by a test is missed after this long; in production it is ten seconds.
os.environ.setdefault("CARINA_OPERATION_LEASE_SECONDS", "4")
# Tests are one busy client.
os.environ.setdefault("CARINA_RATE_ANONYMOUS", "10000/min")
os.environ.setdefault("CARINA_RATE_USER", "100000/min")
os.environ.setdefault("CARINA_FAILED_TOKENS_PER_MINUTE", "100000")

# Once a browser was driven, an event loop of Playwright's stays in the thread of the tests; Django would refuse it the database.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
