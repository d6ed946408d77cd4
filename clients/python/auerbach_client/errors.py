"""What can go wrong, one class a cause."""


class AuerbachError(Exception):
    """The base of this package's errors."""


class ChatError(AuerbachError):
    """A request was refused, or its outcome is unknown.

    Attributes:
        code: the protocol's code: `invalid`, `forbidden`, `no_such_group`, `timeout`, … Expect new ones.
        message: for a person.
        field: the field that is wrong, where `code` is `invalid` or `too_large`.
        temporary: the same request, with the same `client_msg_id`, may succeed later. The client has tried that
            already, within its bounds.
        client_msg_id: the id that the request went out with, for a later repetition; None where it had none.
        retry_after_s: when the server wants it repeated at the earliest, if it says so (seconds).
    """

    def __init__(
        self,
        code: str,
        message: str,
        field: str | None = None,
        temporary: bool = False,
        client_msg_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.field = field
        self.temporary = temporary
        self.client_msg_id = client_msg_id
        self.retry_after_s = retry_after_s


class EndedError(AuerbachError):
    """The client is at its end and does not reconnect.

    Attributes:
        code: the close code (4501 not authenticated, 4510 revoked, any 45xx), the HTTP status of a handshake that
            was refused for good (401, 404, …), or None where the caller closed the client or the first
            connection did not come about in time.
    """

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
