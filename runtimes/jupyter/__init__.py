"""The Jupyter Server protocol, one workspace a host, and the stock Notebook 7 front end that speaks it."""
