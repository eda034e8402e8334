"""Response headers of the notebook host. What a script in a notebook's output can do is decided here.

Rules: W3C Content Security Policy 3, Fetch (CORP), HTML (COOP). Output may run any script in its own workspace's page
and load images from anywhere over https; it can talk to its own host only, and only our site may frame it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from runtimes.jupyter import hosts
from runtimes.jupyter.hooks import Mode

# The attribute that the site's frame must carry. Without it, output could navigate the top page away.
FRAME_SANDBOX = "allow-scripts allow-same-origin allow-forms allow-popups allow-downloads allow-modals"

# For JSON and everything that is no page: should one ever be opened as a document, it can do nothing.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
# A file of the workspace opened in a tab: its scripts do not run, it has no origin.
FILE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


def error_policy() -> str:
    """For error pages: our own inline style and a link to the site, framed by the site only."""
    site = settings.SITE_ORIGIN
    return f"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors {site}"


def page_policy(slug: str, mode: Mode) -> str:
    """For the notebook page. Scripts within outputs run only for those who may run code themselves.

    'unsafe-eval' is the front end's own need (its settings are checked by compiled JSON schemas).
    """
    static = hosts.static_origin()
    own = hosts.origin(slug)
    parts = urlsplit(own)
    socket = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    inline = " 'unsafe-inline'" if mode == "write" else ""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {static} 'unsafe-eval'{inline}",
            f"style-src 'self' 'unsafe-inline' {static}",
            f"img-src 'self' data: blob: https: {static}",
            f"font-src 'self' data: {static}",
            "media-src 'self' data: blob: https:",
            # Not every browser counts wss: as 'self'.
            f"connect-src 'self' {socket}",
            "worker-src 'self' blob:",
            "frame-src 'self' blob: data: https:",
            f"manifest-src {static}",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            f"frame-ancestors {settings.SITE_ORIGIN}",
        ]
    )


def common_headers() -> dict[str, str]:
    """On every answer of a workspace's host, unless the answer sets its own."""
    return {
        "content-security-policy": DATA_POLICY,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=()",
    }
