"""How many descriptors a gateway may have open: two for each socket that follows a group (ADR 022)."""

import contextlib
import resource


def raise_limit() -> int:
    """Take what the system allows, as the soft limit is for programs that know no better; the limit now in force."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems have a hard limit that they do not give
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
