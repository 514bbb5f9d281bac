"""Second factors: authenticator apps and passkeys, with recovery codes beside them."""

import ipaddress
from io import BytesIO

import qrcode  # type: ignore[import-untyped]
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from qrcode.image.svg import SvgPathFillImage  # type: ignore[import-untyped]

from apps.accounts.models import User

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_second_factor(*, user: User) -> bool:
    """Tell whether the user signs in with more than a password: an authenticator app or a passkey. Recovery codes alone do not count."""
    return Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists()


def passkeys_possible(*, request: HttpRequest) -> bool:
    """Tell whether browsers allow passkeys under this address: a name, not an IP address, over HTTPS or on this machine (WebAuthn)."""
    host = request.get_host().rpartition(":")[0] or request.get_host()
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return request.is_secure() or host == "localhost" or host.endswith(".localhost")
    return False


class SecondFactorAdapter(DefaultMFAAdapter):
    """How factors present themselves. What encrypts their secrets at rest lies above this layer: `apps.credentials.second_factors`."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": _("This is not right. Codes of an app change every 30 seconds and work once: try the next one."),
    }

    def get_totp_issuer(self) -> str:
        """Return what an authenticator app shows above the code."""
        return f"Carina ({self._get_site_name()})"

    def build_totp_svg(self, url: str) -> str:
        """Return the QR code with a white ground of its own, to be readable in the dark as well."""
        image, out = qrcode.make(url, image_factory=SvgPathFillImage), BytesIO()
        image.save(out)
        return out.getvalue().decode()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return who the passkey is for: this host name, called Carina."""
        return {**super().get_public_key_credential_rp_entity(), "name": "Carina"}

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:  # noqa: A002 - allauth's
        """Return the name that is suggested for a new passkey."""
        return str(_("Passkey %d") % (Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1))
