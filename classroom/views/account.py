"""A person's own page and choices: name, language, time zone, theme; and the link that lets them in."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from classroom import invite
from classroom.forms_people import FirstPasswordForm, ProfileForm
from classroom.middleware import THEME_COOKIE
from classroom.people.models import User

_INVITED = "invitation"
A_YEAR = timedelta(days=365)


def _back(request: HttpRequest) -> HttpResponse:
    """To the page the form was on: one of ours, or the start page."""
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = reverse("home")
    return redirect(target)


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keeps the theme with the person, or in a cookie of the browser."""
    chosen = request.POST.get("theme", "")
    response = _back(request)
    if chosen not in User.Theme.values:
        return response
    if isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(theme=chosen)
    response.set_cookie(THEME_COOKIE, chosen, max_age=A_YEAR, samesite="Lax", secure=settings.SECURE, httponly=True)
    return response


@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Keeps the language with the person, and in Django's cookie for when they are signed out."""
    chosen = request.POST.get("language", "")
    response = _back(request)
    if chosen not in dict(settings.LANGUAGES):
        return response
    if isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(language=chosen)
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME, chosen, max_age=A_YEAR, samesite="Lax", secure=settings.SECURE, httponly=True
    )
    return response


@never_cache
@require_GET
def join(request: HttpRequest, secret: str) -> HttpResponse:
    """Where an invitation leads. The secret moves into the session, so that no link or log carries it further."""
    request.session[_INVITED] = secret
    return redirect("join_password")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join_password(request: HttpRequest) -> HttpResponse:
    """Chooses the first password. Looking costs nothing (mail scanners look); the link is spent with the password."""
    try:
        invitation = invite.find(str(request.session.get(_INVITED, "")))
        form = FirstPasswordForm(request.POST or None, user=invitation.user)
        if request.method != "POST" or not form.is_valid():
            context = {"form": form, "invited": invitation.user}
            return render(request, "account/join.html", context, status=422 if form.errors else 200)
        user = invite.accept(invitation, form.cleaned_data["password"])
    except invite.InvitationGone as error:
        return render(request, "account/join_gone.html", {"text": error.user_message}, status=410)
    User.objects.filter(pk=user.pk).update(display_name=form.cleaned_data["display_name"])
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    messages.success(
        request, _("Welcome. Your user name is %(name)s; your email works as well.") % {"name": user.username}
    )
    return redirect("home")


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """The person's own page."""
    assert isinstance(request.user, User)
    form = ProfileForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        with translation.override(user.language or translation.get_language()):
            messages.success(request, _("Saved."))
        return redirect("profile")
    return render(request, "account/profile.html", {"form": form})
