from apps.bays.pages.access import bay_bundle, bay_ca, bay_certificates
from apps.bays.pages.change import bay_delete, bay_heal, bay_rename, bay_resize, bay_resize_estimate, bay_rotate_ca, bay_tags
from apps.bays.pages.create import bay_estimate, bay_new
from apps.bays.pages.listing import bay_list
from apps.bays.pages.quota import quota, quota_withdraw
from apps.bays.pages.show import bay_tab
from apps.common.pages import both

app_name = "bays"
BAYS = "t/<str:tenant>/bays/"
BAY = f"{BAYS}<str:bay>/"
QUOTA = "t/<str:tenant>/limits/"

urlpatterns = [
    *both(QUOTA, quota, "quota"),
    *both(f"{QUOTA}requests/<uuid:request_id>/withdraw", quota_withdraw, "quota_withdraw"),
    *both(BAYS, bay_list, "list"),
    *both(f"{BAYS}new", bay_new, "new"),
    *both(f"{BAYS}new/estimate", bay_estimate, "estimate"),
    *both(BAY, bay_tab, "overview", tab="overview"),
    *both(f"{BAY}hosts", bay_tab, "hosts", tab="hosts"),
    *both(f"{BAY}access", bay_tab, "access", tab="access"),
    *both(f"{BAY}events", bay_tab, "events", tab="events"),
    *both(f"{BAY}settings", bay_tab, "settings", tab="settings"),
    *both(f"{BAY}bundle", bay_bundle, "bundle"),
    *both(f"{BAY}certificates", bay_certificates, "certificates"),
    *both(f"{BAY}ca.pem", bay_ca, "ca"),
    *both(f"{BAY}resize", bay_resize, "resize"),
    *both(f"{BAY}resize/estimate", bay_resize_estimate, "resize_estimate"),
    *both(f"{BAY}rename", bay_rename, "rename"),
    *both(f"{BAY}tags", bay_tags, "tags"),
    *both(f"{BAY}heal", bay_heal, "heal"),
    *both(f"{BAY}rotate-ca", bay_rotate_ca, "rotate_ca"),
    *both(f"{BAY}delete", bay_delete, "delete"),
]
