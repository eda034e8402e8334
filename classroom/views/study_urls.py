"""Addresses of the student's pages, and of work itself (`w/<workspace>/`: a person's own, or one they look after)."""

from django.urls import URLPattern, URLResolver, path

from classroom.views import check, feedback, groups, hand_in, notebook, study, submit

urlpatterns: list[URLPattern | URLResolver] = [
    path("c/<slug:course>/", study.course, name="course"),
    path("c/<slug:course>/a/<slug:assignment>/", study.work, name="work"),
    path("c/<slug:course>/a/<slug:assignment>/group/", groups.group, name="group"),
    path("c/<slug:course>/a/<slug:assignment>/preview/", study.preview, name="preview"),
    path("w/<slug:workspace>/", notebook.notebook, name="notebook"),
    path("w/<slug:workspace>/ticket/", notebook.ticket, name="notebook_ticket"),
    path("w/<slug:workspace>/state/", notebook.state, name="notebook_state"),
    path("w/<slug:workspace>/machine/", notebook.machine, name="notebook_machine"),
    path("w/<slug:workspace>/check/", check.check, name="check"),
    path("w/<slug:workspace>/restore/", notebook.restore, name="notebook_restore"),
    path("w/<slug:workspace>/use-copy/", notebook.use_copy, name="notebook_use_copy"),
    path("w/<slug:workspace>/kernel/", notebook.kernel, name="notebook_kernel"),
    path("w/<slug:workspace>/download/", hand_in.download, name="download"),
    path("w/<slug:workspace>/hand-in/", hand_in.hand_in, name="hand_in"),
    path("w/<slug:workspace>/submit/", submit.submit, name="submit"),
    path("receipts/<slug:code>/", submit.receipt_page, name="receipt"),
    path("receipts/<slug:code>/text/", submit.receipt_text, name="receipt_text"),
    path("receipts/<slug:code>/files/", submit.receipt_files, name="receipt_files"),
    path("receipts/<slug:code>/state/", submit.receipt_state, name="receipt_state"),
    path("feedback/<slug:code>/", feedback.feedback, name="feedback"),
    path("feedback/<slug:code>/file/", feedback.feedback_file, name="feedback_file"),
]
