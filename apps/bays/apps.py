from django.apps import AppConfig


class BaysConfig(AppConfig):
    name = "apps.bays"
    label = "bays"
