"""Addresses of those who mark."""

from django.urls import URLPattern, URLResolver, path

from classroom.views import review, submissions

_LIST = "c/<slug:course>/a/<slug:assignment>/submissions/"

urlpatterns: list[URLPattern | URLResolver] = [
    path(_LIST, submissions.submissions, name="submissions"),
    path(f"{_LIST}feedback/", submissions.return_feedback, name="return_feedback"),
    path(f"{_LIST}again/", submissions.grade_again, name="grade_again"),
    path(f"{_LIST}anonymous/", submissions.anonymous, name="anonymous"),
    path("review/<slug:code>/", review.review_page, name="review"),
    path("review/<slug:code>/here/", review.here, name="review_here"),
    path("review/<slug:code>/cells/<int:cell>/", review.mark, name="review_mark"),
    path("review/<slug:code>/finish/", review.finish, name="review_finish"),
    path("review/<slug:code>/files/", review.files, name="review_files"),
]
