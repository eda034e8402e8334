"""The site's addresses. Notebook hosts have a route table of their own in `runtimes/jupyter/`."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver
from django.views.generic import RedirectView
from django.views.i18n import JavaScriptCatalog

from classroom.views import urls as pages

# Google's console is told …/accounts/google/login/callback/.
google: list[URLPattern | URLResolver] = [
    path("accounts/", include("allauth.socialaccount.providers.google.urls")),
    path("accounts/3rdparty/", include("allauth.socialaccount.urls")),
]

urlpatterns: list[URLPattern | URLResolver] = [
    # An email is how courses know a person, so it is not theirs to change.
    path("accounts/email/", RedirectView.as_view(pattern_name="profile"), name="email"),
    path("accounts/", include("allauth.account.urls")),
    *(google if settings.GOOGLE_CLIENT_ID else []),
    path("i18n/", include("django.conf.urls.i18n")),
    path("jsi18n/", JavaScriptCatalog.as_view(packages=["classroom"]), name="javascript-catalog"),
    path("django-admin/", admin.site.urls),
    path("", include(pages)),
]
