"""Every page's address, in one list. Each area keeps its own."""

from django.urls import URLPattern, URLResolver, path

from classroom.views import home, operate_urls, people_urls, review_urls, study_urls, teach_urls

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    *people_urls.urlpatterns,
    *teach_urls.urlpatterns,
    *study_urls.urlpatterns,
    *review_urls.urlpatterns,
    *operate_urls.urlpatterns,
]
