"""The dispatcher. Messages carry ids only; what is to be done stands in the database, so a lost message costs a second."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carina_portal.settings")
app = Celery("carina")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
