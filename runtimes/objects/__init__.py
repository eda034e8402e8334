"""Blobs in an object store: django-storages' classes, with one request a file, one client a process and our errors.

Both stores show an object whole or not at all, to everybody at once, also in lists (S3: "strong read-after-write
consistency"; Cloud Storage: "strong global consistency"). More than that nobody above relies on.
"""
