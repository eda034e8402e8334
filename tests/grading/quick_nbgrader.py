"""nbgrader's command line for tests, without what takes most of its start and touches no score."""

from __future__ import annotations

import sys

from bench._nbgrader_course import Course

_LAUNCH = "import sys; sys.modules['rfc3987_syntax'] = None; from nbgrader.apps.nbgraderapp import main; main()"


class QuickCourse(Course):
    """A Course whose commands compile no grammar of addresses for jsonschema (`runtimes.notebook_formats`)."""

    program = (sys.executable, "-c", _LAUNCH)
