"""What `runtimes.jupyter` asks of the classroom: may this person be in this workspace, now?"""

from __future__ import annotations

from runtimes.jupyter.hooks import Access, Hooks


async def access(subject: str, slug: str) -> Access | None:
    """The person's access to the workspace by today's enrollments, or None."""
    from classroom.launch import workspace_access  # models are ready only after django.setup()

    return await workspace_access(subject, slug)


HOOKS = Hooks(access=access)
