from typing import ClassVar

from django.conf import settings
from django.db import models

from apps.common.models import Identified


class CertificateAuthority(Identified):
    """The authority of one bay: whoever holds a certificate of it may do anything in that bay and nothing elsewhere."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="certificate_authorities")
    name = models.CharField(max_length=100)
    certificate_pem = models.TextField()
    key_encrypted = models.TextField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-created_at", "id"]
        verbose_name_plural = "certificate authorities"

    def __str__(self) -> str:
        return self.name

    @property
    def certificate(self) -> bytes:
        """The public certificate as PEM bytes (what `ca.pem` holds)."""
        return self.certificate_pem.encode()


class Certificate(Identified):
    """A certificate that was issued. Its private key is nowhere here."""

    class Purpose(models.TextChoices):
        CLIENT = "client", "Client"
        SERVER = "server", "Server"

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="certificates")
    authority = models.ForeignKey(CertificateAuthority, on_delete=models.CASCADE, related_name="certificates")
    serial = models.CharField(max_length=40)
    purpose = models.CharField(max_length=10, choices=Purpose.choices)
    subject = models.CharField(max_length=300)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="certificates")
    owner_label = models.CharField(max_length=300, blank=True)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-issued_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["authority", "serial"], name="serial_unique_per_authority"),
            models.CheckConstraint(condition=models.Q(expires_at__gt=models.F("issued_at")), name="certificate_expires_after_issue"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} ({self.serial})"
