"""Sites beside Django's default one, each with some of the app's pages."""

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.urls import path

from finance.models import Account
from ingest.admin import LoadAdmin, LoadFileAdmin, UploadAdmin
from ingest.models import Load, Upload
from tests.end_to_end.contract.models.inheritance import PlaceProxy, Unmanaged


class AccountAdmin(LoadFileAdmin, admin.ModelAdmin):
    pass


def site_with(name, pages):
    site = AdminSite(name=name)
    site.register(Account, AccountAdmin)
    for model, page in pages.items():
        site.register(model, page)
    return site


SITES = {
    "none": site_with("none", {}),
    "loads": site_with("loads", {Load: LoadAdmin}),
    "uploads": site_with("uploads", {Upload: UploadAdmin}),
    "both": site_with("both", {Load: LoadAdmin, Upload: UploadAdmin}),
}
for _model in (PlaceProxy, Unmanaged):
    SITES["both"].register(_model, admin.ModelAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    *(path(f"{name}/", site.urls) for name, site in SITES.items()),
]
