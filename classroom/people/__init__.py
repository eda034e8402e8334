"""The people who sign in. Imports nothing of ours."""
