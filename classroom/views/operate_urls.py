"""Addresses of the pages for administrators."""

from django.urls import URLPattern, URLResolver, path

from classroom.views import machines

urlpatterns: list[URLPattern | URLResolver] = [
    path("machines/", machines.machines, name="machines"),
    path("machines/new/", machines.new, name="machine_new"),
    path("machines/<slug:slug>/", machines.machine, name="machine"),
    path("machines/<slug:slug>/retire/", machines.retire, name="machine_retire"),
]
