"""Tests are sentences about behaviour. The cast is fixed; see conftest.py."""
