import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from apps.common.rls import protect


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("hosts", "0002_openstack"),
        ("tenants", "0002_organisations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Announcement",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("text", models.CharField(max_length=500)),
                (
                    "level",
                    models.CharField(
                        choices=[("info", "Information"), ("warning", "Warning"), ("critical", "Critical")], default="info", max_length=16
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("created_by", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField()),
                (
                    "cloud",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="hosts.cloud"),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at", None), ("ends_at__gt", models.F("starts_at")), _connector="OR"),
                        name="announcements_end_after_they_start",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SupportView",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("reason", models.CharField(max_length=500)),
                ("started_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "end",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("operator", "ended by the operator"),
                            ("time", "time was over"),
                            ("signed_out", "the operator signed out"),
                            ("disabled", "the operator’s account was disabled"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "operator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="support_views", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="support_views", to="tenants.tenant"),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)), fields=("operator",), name="one_support_view_at_a_time"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("end", ""), ("ended_at", None)),
                            models.Q(("ended_at__isnull", False), models.Q(("end", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="ended_support_views_say_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("started_at"))), name="support_views_have_an_end"
                    ),
                ],
            },
        ),
        protect(table="dashboard_supportview"),
    ]
