"""The replaced service's gRPC (protocol §8): the last messages of a group.

In come calls of a caller that is trusted, on a port of their own; out go the group's messages as its owner has them.
`chatservice.proto` is the contract, `last_messages` what is answered, `service` how a call is answered in every case,
`server` the port. Nothing here is imported unless `AUERBACH_LEGACY=1`.
"""

import os

# gRPC's core would write to standard error between our structured lines; what it has to say comes as exceptions and
# status codes, too. It is read once, when the library is loaded, hence here.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
