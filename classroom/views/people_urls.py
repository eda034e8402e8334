"""Addresses of what belongs to a person rather than to a course."""

from django.urls import URLPattern, URLResolver, path

from classroom.views import account, patterns

urlpatterns: list[URLPattern | URLResolver] = [
    path("join/", account.join_password, name="join_password"),
    path("join/<str:secret>/", account.join, name="join"),
    path("profile/", account.profile, name="profile"),
    path("display/theme/", account.set_theme, name="set_theme"),
    path("display/language/", account.set_language, name="set_language_of_person"),
    path("patterns/", patterns.patterns, name="patterns"),
]
