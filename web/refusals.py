"""What a request is answered that failed here, whatever it asked: nobody decided it."""

from app.domain.outcomes import Rejection

NO_OWNER = Rejection("unavailable", "the group's processor cannot be reached", temporary=True)
INTERNAL = Rejection("internal", "this request failed here; the fault is ours")
