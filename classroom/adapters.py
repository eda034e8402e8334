"""allauth's questions to us: who may sign up, and what a new Google account is called."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is closed unless the administrator opened it: people come by CSV and invitation."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """True only with SIGN_UP_OPEN."""
        return bool(settings.SIGN_UP_OPEN)


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Google signs in people that the site knows by their verified email; others only with SIGN_UP_OPEN."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """True only with SIGN_UP_OPEN."""
        return bool(settings.SIGN_UP_OPEN)

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> Any:
        """The user that allauth would make, with the Google name as display name."""
        user = super().populate_user(request, sociallogin, data)
        user.display_name = data.get("name") or " ".join(filter(None, [data.get("first_name"), data.get("last_name")]))
        return user
