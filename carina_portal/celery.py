"""The dispatcher. Messages carry ids only; what is to be done stands in the database, so a lost message costs a second."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carina_portal.settings")
app = Celery("carina")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Leave logging as the settings made it: a receiver is all it takes to keep Celery from adding handlers and levels of its own."""
