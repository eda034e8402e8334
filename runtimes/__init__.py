"""Where student code runs, and the Jupyter protocol to reach it. Knows no pages and no courses."""
