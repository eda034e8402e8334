"""People, courses, assignments and every page. Imports nothing: set-up reads `classroom.places` before Django is there."""
