"""How the site is put on machines."""
