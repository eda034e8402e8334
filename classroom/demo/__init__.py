"""The demo course: nbgrader's quickstart problem set and a tutorial of our own, through the product's own verbs."""
