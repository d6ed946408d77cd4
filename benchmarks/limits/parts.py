"""The processes that stand in a processor's place, and how far they are."""

from benchmarks.lab import Part, Place
from benchmarks.limits import topics
from benchmarks.limits.progress import Progress
from tests.support.waiting import eventually

_ASSIGNED = b"assigned "
_WITHIN_S = 60


class InPlace(Part):
    """One of them. `topic` is where its commands are appended."""

    def __init__(self, place: Place, name: str, program: str, topic: str, *options: str) -> None:
        self.topic = topic
        file = place.folder / f"{name}.progress"
        self._progress = Progress(file)
        module = ["-m", f"benchmarks.limits.{program}", "--bootstrap", place.bootstrap, "--progress", str(file)]
        super().__init__(place, name, [*module, *options])

    def done(self) -> int:
        """The commands that it is done with."""
        return self._progress.done()

    def wait_assigned(self) -> None:
        """Wait until it has been given partitions."""
        eventually(lambda: _ASSIGNED in self.printed(), within_s=_WITHIN_S, what=f"{self.topic} assigned")


def pipe(place: Place, name: str = "pipe-0", *, leaves: bool = False) -> InPlace:
    """Bare librdkafka; one that `leaves` the group when it ends, or one that comes back to its place."""
    return InPlace(place, name, "pipe", topics.PIPE, *(() if leaves else ("--member", name)))


def agent(place: Place, partitions: int, *, forward: bool) -> InPlace:
    """A bare Faust agent that acknowledges at once, or forwards."""
    topic, options = (topics.FORWARD, ["--forward"]) if forward else (topics.ACKNOWLEDGE, [])
    return InPlace(place, topic, "agent", topic, "--partitions", str(partitions), *options)
