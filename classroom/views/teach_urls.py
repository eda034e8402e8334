"""Addresses of the teacher's pages."""

from django.urls import URLPattern, URLResolver, path

from classroom.views import assignments, courses, gradebook, groups, people, person, publish, regrade, run, usage

_A = "c/<slug:course>/a/<slug:assignment>/teach/"

urlpatterns: list[URLPattern | URLResolver] = [
    path("courses/new/", courses.new, name="course_new"),
    path("c/<slug:course>/teach/", courses.course, name="teach_course"),
    path("c/<slug:course>/settings/", courses.settings, name="course_settings"),
    path("c/<slug:course>/settings/archive/", courses.archive, name="course_archive"),
    path("c/<slug:course>/order/", courses.order, name="course_order"),
    path("c/<slug:course>/gradebook/", gradebook.gradebook, name="gradebook"),
    path("c/<slug:course>/gradebook/export.csv", gradebook.export, name="gradebook_export"),
    path("c/<slug:course>/assignments/new/", assignments.new, name="assignment_new"),
    path(_A, assignments.assignment, name="teach_assignment"),
    path(_A + "check/", assignments.check, name="assignment_check"),
    path(_A + "check/again/", assignments.check_again, name="assignment_check_again"),
    path(_A + "upload/", assignments.upload, name="assignment_upload"),
    path(_A + "publish/", publish.publish, name="assignment_publish"),
    path(_A + "move/", publish.move, name="assignment_move"),
    path(_A + "settings/", publish.settings, name="assignment_settings"),
    path(_A + "groups/", groups.groups, name="groups"),
    path(_A + "grading/", run.grading_run, name="grading_run"),
    path(_A + "grading/move/", run.grading_move, name="grading_move"),
    path(_A + "grading/<int:autograding>/", run.grading_log, name="grading_log"),
    path(_A + "points/", regrade.points, name="points"),
    path(_A + "regrades/", regrade.regrades, name="regrades"),
    path(_A + "regrades/<int:regrade>/", regrade.regrade, name="regrade"),
    path(_A + "regrades/<int:regrade>/move/", regrade.regrade_move, name="regrade_move"),
    path(_A + "versions/<int:number>/files/", assignments.source, name="assignment_source"),
    path(_A + "versions/<int:number>/notebooks/<path:path>", assignments.notebook, name="assignment_notebook"),
    path("c/<slug:course>/usage/", usage.course_usage, name="course_usage"),
    path("c/<slug:course>/usage/export.csv", usage.course_export, name="course_usage_export"),
    path("c/<slug:course>/people/", people.people, name="people"),
    path("c/<slug:course>/people/export.csv", people.export, name="people_export"),
    path("c/<slug:course>/people/add/", people.add, name="people_add"),
    path("c/<slug:course>/people/add/confirm/", people.confirm, name="people_confirm"),
    path("c/<slug:course>/people/invitations/", people.invitations, name="people_invitations"),
    path("c/<slug:course>/people/<int:enrollment>/", person.person, name="person"),
    path("c/<slug:course>/people/<int:enrollment>/drop/", people.drop, name="person_drop"),
    path("c/<slug:course>/people/<int:enrollment>/extension/", person.extension, name="person_extension"),
    path("c/<slug:course>/people/<int:enrollment>/accommodation/", person.accommodation, name="person_accommodation"),
    path(
        "c/<slug:course>/people/<int:enrollment>/extension/<int:extension>/back/",
        person.extension_back,
        name="person_extension_back",
    ),
]
