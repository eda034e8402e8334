"""Courses from nbgrader's folders, and back into them (`manage.py import_nbgrader`, `manage.py export_nbgrader`)."""
