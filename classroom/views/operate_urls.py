"""Addresses of the pages for administrators."""

from django.urls import URLPattern, URLResolver, path

from classroom.views import machines, operate, usage

urlpatterns: list[URLPattern | URLResolver] = [
    path("operate/", operate.operate, name="operate"),
    path("operate/<slug:name>/stop/", operate.stop, name="operate_stop"),
    path("operate/usage/", usage.usage, name="usage"),
    path("operate/usage/export.csv", usage.export, name="usage_export"),
    path("metrics", operate.metrics, name="metrics"),
    path("machines/", machines.machines, name="machines"),
    path("machines/new/", machines.new, name="machine_new"),
    path("machines/<slug:slug>/", machines.machine, name="machine"),
    path("machines/<slug:slug>/retire/", machines.retire, name="machine_retire"),
]
