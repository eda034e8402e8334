"""People, courses, assignments and every page. Imports nothing: set-up reads `places` before Django is there."""
