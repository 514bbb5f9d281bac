from apps.common.pages import both
from apps.dashboard import operators
from apps.dashboard.views import mail, mails, tenant_settings

app_name = "dashboard"

urlpatterns = [
    *both("t/<str:tenant>/settings/", tenant_settings, "settings"),
    *both("operators/clouds/", operators.clouds, "operator-clouds"),
    *both("operators/clouds/<str:name>/", operators.cloud, "operator-cloud"),
    *both("operators/clouds/<str:name>/look", operators.look, "operator-look"),
    *both("mail/", mails, "mails"),
    *both("mail/<str:mail_id>", mail, "mail"),
]
