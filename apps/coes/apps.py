from django.apps import AppConfig


class CoesConfig(AppConfig):
    name = "apps.coes"
    label = "coes"
