"""Notebook in, scores and feedback out. Knows no pages and no courses."""
