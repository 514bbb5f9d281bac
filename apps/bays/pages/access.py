"""Credentials of a bay: the bundle, and certificates for keys that never leave their owner."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.bays.access import authority_pem, issue_bundle, sign_request
from apps.bays.forms import CertificateForm
from apps.bays.pages.show import bay_context
from apps.bays.selectors import get_bay
from apps.common.pages import refusals_as_messages, refusals_at
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page


@require_POST
@tenant_page
def bay_bundle(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Return the credential zip, which exists only in this answer."""
    found = get_bay(access=access, reference=bay)
    with refusals_as_messages(request):
        bundle = issue_bundle(access=access, reference=str(found.id))
        return HttpResponse(
            bundle.content,
            content_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{bundle.file_name}"', "Cache-Control": "no-store"},
        )
    return redirect("bays:access", tenant=access.tenant.slug, bay=found.name)


@require_POST
@tenant_page
def bay_certificates(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Certify the asker's own key and show the certificate."""
    found = get_bay(access=access, reference=bay)
    form = CertificateForm(request.POST)
    if form.is_valid():
        asked = form.cleaned_data
        with refusals_at(form):
            issued = sign_request(access=access, reference=str(found.id), csr_pem=asked["csr"], label=asked["label"])
            context = bay_context(access=access, bay=found, tab="access", request=request, issued_pem=issued.certificate_pem.decode())
            return render(request, "bays/bay.html", context)
    context = bay_context(access=access, bay=found, tab="access", request=request, csr_form=form)
    return render(request, "bays/bay.html", context, status=422)


@require_safe
@tenant_page
def bay_ca(_: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Return the certificate of the bay's authority, which is public."""
    found = get_bay(access=access, reference=bay)
    pem = authority_pem(access=access, reference=str(found.id))
    headers = {"Content-Disposition": f'attachment; filename="{found.name}-ca.pem"'}
    return HttpResponse(pem, content_type="application/x-pem-file", headers=headers)
