"""Where Carina's sign-in differs from allauth's."""

from typing import Any, cast

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import EmailAddress
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.accounts.addresses import drop_claims, holder_of, is_service_address
from apps.accounts.models import User


class AccountAdapter(DefaultAccountAdapter):
    """Addresses are kept in lower case, counted only once confirmed, and never told about to anybody but their owner."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "not_a_persons_address": _("Addresses below service.invalid belong to service accounts. Use one that receives mail."),
    }

    def save_user(self, request: HttpRequest, user: AbstractBaseUser, form: Any, commit: bool = True) -> AbstractBaseUser:  # noqa: FBT001, FBT002 - allauth's
        """Save the new user with a lower-case address."""
        saved = super().save_user(request, user, form, commit=False)
        saved.email = saved.email.strip().lower()  # type: ignore[attr-defined]  # AUTH_USER_MODEL has one
        if commit:
            saved.save()
        return saved

    def clean_email(self, email: str) -> str:
        """Refuse addresses of service accounts wherever a person types an address: sign-up, reset, change."""
        if is_service_address(email=email):
            raise self.validation_error("not_a_persons_address")
        return super().clean_email(email)

    def pre_login(self, request: HttpRequest, user: AbstractBaseUser, **more: Any) -> HttpResponse | None:
        """Stop, whatever the way in, those who are switched off (allauth does) and programs, which use tokens only."""
        if cast("User", user).is_service:
            clear_login(request)
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **more)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail, but none to a service account; whoever is switched off is told so and not that they have no account."""
        if is_service_address(email=email):
            return
        if template_prefix == "account/email/unknown_account":
            holder = holder_of(email=email)
            if holder is not None and not holder.is_active:
                template_prefix = "account/email/account_switched_off"
        super().send_mail(template_prefix, email, context)

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:  # noqa: FBT001 - allauth's
        """Send the link; to an address that is another account's already, only word of that: the page says the same in both cases."""
        address: EmailAddress = emailconfirmation.email_address
        holder = holder_of(email=address.email)
        if holder is not None and holder.pk != address.user_id:
            self.send_mail(
                "account/email/address_in_use",
                address.email,
                {"password_reset_url": request.build_absolute_uri(reverse("account_reset_password"))},
            )
        else:
            super().send_confirmation_mail(request, emailconfirmation, signup)

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Make the address count, unless it became another account's while the link was under way."""
        holder = holder_of(email=email_address.email)
        if holder is None or holder.pk == email_address.user_id:
            try:
                with transaction.atomic():
                    confirmed = bool(super().confirm_email(request, email_address))
                    if confirmed:
                        drop_claims(email=email_address.email, but=email_address.user)
                    return confirmed
            except IntegrityError:  # two accounts at once: the database let one of them win
                pass
        self.add_message(request, messages.ERROR, "account/messages/email_confirmation_failed.txt", {"email": email_address.email})
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:  # noqa: ARG002 - allauth's
        """Lead back to the account, where the message is read."""
        return reverse("your_account")

    def get_email_verification_redirect_url(self, email_address: EmailAddress) -> str:
        """Lead whoever is signed in back to their addresses: they changed theirs."""
        if self.request.user.is_authenticated and self.request.user.pk == email_address.user_id:
            return reverse("account_email")
        return super().get_email_verification_redirect_url(email_address)
