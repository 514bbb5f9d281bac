from apps.common.pages import both
from apps.dashboard.views import mail, mails, tenant_settings

app_name = "dashboard"

urlpatterns = [
    *both("t/<str:tenant>/settings/", tenant_settings, "settings"),
    *both("mail/", mails, "mails"),
    *both("mail/<str:mail_id>", mail, "mail"),
]
