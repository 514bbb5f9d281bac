from django.apps import AppConfig


class CredentialsConfig(AppConfig):
    name = "apps.credentials"
    verbose_name = "Credentials"

    def ready(self) -> None:
        """Tell key rotation which columns of this app hold secrets."""
        from apps.credentials import second_factors  # noqa: PLC0415  # models are loaded only now
        from apps.credentials.rotation import register_rotation, register_secret  # noqa: PLC0415  # as above
        from apps.credentials.services import authority_context  # noqa: PLC0415  # as above

        register_secret(
            model="credentials.CertificateAuthority", field="key_encrypted", context=lambda row: authority_context(authority_id=row.pk)
        )
        register_rotation(column=second_factors.COLUMN, rotate=second_factors.rotate)
