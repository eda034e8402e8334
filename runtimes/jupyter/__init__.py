"""The Jupyter Server protocol, one workspace a host, and the stock Notebook 7 front end that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtimes.jupyter.gate import App
    from runtimes.jupyter.hooks import Hooks


def application(hooks: Hooks) -> App:
    """The ASGI application for every host below `settings.NOTEBOOK_DOMAIN`, its lifespan included."""
    # Inside, so that who needs a ticket or a document (a view, a task) does not load the whole front end.
    from runtimes.jupyter.serve import serve

    return serve(hooks)
