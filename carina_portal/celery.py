"""The dispatcher. Messages carry ids only; what is to be done stands in the database, so a lost message costs a second."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun

from apps.common import scope

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carina_portal.settings")
app = Celery("carina")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Leave logging as the settings made it: a receiver is all it takes to keep Celery from adding handlers and levels of its own."""


@task_prerun.connect
def begin_scope(task: Any, **_: Any) -> None:
    """Let a task ask the database as the portal itself, under its own name; one that is about a single tenant narrows that."""
    scope.begin_system(f"task {task.name}")


@task_postrun.connect
def end_scope(**_: Any) -> None:
    """Leave nothing to the next task of this thread."""
    scope.end()
