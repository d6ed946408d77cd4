"""All members of the whole road in one loop of C: it sends what is due, reads what has come, and notes when.

Their CPU time counts against the cores that the service has, so they must cost little beside it. They look every
`PAUSE_S` and do not wait in between (see `raw_client.PAUSE_S`): a latency may be told as so much longer than it was.
"""

import ctypes
import shutil
import subprocess
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PAUSE_S = 0.0005
NONE = 0xFFFFFFFF  # of an instant that never came
# Frames are read whole whatever their cuts. An event's number stands behind its `client_msg_id`, a reply's is its id.
SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELD (1 << 17)
#define READY 1024
#define NONE 0xFFFFFFFFu

typedef struct { int fd; long size; unsigned char *held; } Member;
typedef struct { int epoll; long count; Member *members; } Road;
typedef struct {
    long first, messages, copies;
    const long *due; const int *sender; const unsigned char *frames; const long *begins;
    unsigned *sent, *acked, *arrived; int *came;
    long missing, unanswered, refused, began;
} Run;

static long now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int put(int fd, const unsigned char *bytes, long size) {
    while (size > 0) {
        long taken = send(fd, bytes, size, MSG_NOSIGNAL);
        if (taken >= 0) { bytes += taken; size -= taken; continue; }
        struct pollfd room = {fd, POLLOUT, 0};
        if (errno != EAGAIN || poll(&room, 1, 1000) != 1) return -1;
    }
    return 0;
}

static long number_at(const unsigned char *at, const unsigned char *end) {
    long number = 0;
    while (at < end && *at >= '0' && *at <= '9') number = number * 10 + (*at++ - '0');
    return number;
}

static void take(Run *run, const unsigned char *text, long size, long began) {
    static const char EVENT[] = "{\"type\":\"event\"", REPLY[] = "{\"type\":\"reply\",\"id\":";
    static const char MARK[] = "\"client_msg_id\":\"";
    const unsigned char *end = text + size, *at;
    unsigned late = (now_ns(CLOCK_MONOTONIC) - began) / 1000;
    if (size > 15 && !memcmp(text, EVENT, 15)) {
        if (!(at = memmem(text, size, MARK, 17))) return;
        long n = number_at(at + 17, end) - run->first;
        if (n < 0 || n >= run->messages || run->came[n] >= run->copies) return;
        run->arrived[n * run->copies + run->came[n]++] = late;
        run->missing--;
    } else if (size > 21 && !memcmp(text, REPLY, 21)) {
        long n = number_at(text + 21, end) - run->first;
        if (n < 0 || n >= run->messages || run->acked[n] != NONE) return;
        run->acked[n] = late;
        run->unanswered--;
        if (!memmem(text, size, "\"ok\":true", 9)) run->refused++;
    }
}

static int receive(Run *run, Member *member) {
    long got = recv(member->fd, member->held + member->size, HELD - member->size, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN ? 0 : -1;
    unsigned char *at = member->held, *end = member->held + member->size + got;
    while (end - at >= 2) {
        long head = 2, size = at[1];
        if (size == 126) { head = 4; if (end - at < head) break; size = at[2] << 8 | at[3]; }
        else if (size == 127) return -1;
        if (end - at < head + size) break;
        if ((at[0] & 15) == 1) take(run, at + head, size, run->began);
        else if ((at[0] & 15) == 9) { if (put(member->fd, (const unsigned char *)"\x8a\x80\0\0\0\0", 6)) return -1; }
        else return -1;
        at += head + size;
    }
    member->size = end - at;
    memmove(member->held, at, member->size);
    return 0;
}

Road *road_open(const int *fds, long count) {
    Road *road = malloc(sizeof *road);
    road->epoll = epoll_create1(0);
    road->count = count;
    road->members = calloc(count, sizeof(Member));
    for (long i = 0; i < count; i++) {
        road->members[i] = (Member){fds[i], 0, malloc(HELD)};
        struct epoll_event want = {EPOLLIN, {.ptr = &road->members[i]}};
        epoll_ctl(road->epoll, EPOLL_CTL_ADD, fds[i], &want);
    }
    return road;
}

void road_close(Road *road) {
    for (long i = 0; i < road->count; i++) free(road->members[i].held);
    close(road->epoll);
    free(road->members);
    free(road);
}

/* Until all has come and `lasts` ns are over, or `patience` ns after it. -1: a socket was closed. */
int road_run(Road *road, Run *run, long lasts, long patience, long pause) {
    struct epoll_event ready[READY];
    long next = 0, now = run->began = now_ns(CLOCK_MONOTONIC), ends = now + lasts;
    while (now < ends || ((run->missing || run->unanswered) && now < ends + patience)) {
        for (; next < run->messages && run->began + run->due[next] <= now; next++) {
            if (put(road->members[run->sender[next]].fd, run->frames + run->begins[next],
                    run->begins[next + 1] - run->begins[next])) return -1;
            run->sent[next] = (now_ns(CLOCK_MONOTONIC) - run->began) / 1000;
        }
        int some;
        do {
            some = epoll_wait(road->epoll, ready, READY, 0);
            for (int i = 0; i < some; i++) if (receive(run, ready[i].data.ptr)) return -1;
        } while (some == READY);
        now = now_ns(CLOCK_MONOTONIC);
        long wait = next < run->messages ? run->began + run->due[next] - now : pause;
        if (wait > pause) wait = pause;
        if (wait > 0) { struct timespec t = {0, wait}; nanosleep(&t, NULL); }
        now = now_ns(CLOCK_MONOTONIC);
    }
    return 0;
}
"""


class _Run(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_long) for name in ("first", "messages", "copies")),
        *((name, ctypes.c_void_p) for name in ("due", "sender", "frames", "begins")),
        *((name, ctypes.c_void_p) for name in ("sent", "acked", "arrived", "came")),
        *((name, ctypes.c_long) for name in ("missing", "unanswered", "refused", "began")),
    )


@dataclass(frozen=True, slots=True)
class Message:
    """One to be sent: when it is due (ns from the beginning), the number of its sender's socket, and its frame."""

    due_ns: int
    sender: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Noted:
    """When what happened, µs from the beginning (`began_ns`, monotonic); `NONE` for what did not.

    `due`, `sent`, `acked`: a message each. `arrived`: `copies` for each message, in the order of coming.
    """

    copies: int
    began_ns: int
    due: Sequence[int]
    sent: Sequence[int]
    acked: Sequence[int]
    arrived: Sequence[int]
    refused: int
    missing: int  # deliveries and replies that did not come


class RoadLoop:
    """Sockets that are read and written by the loop; `road_loop` makes it."""

    def __init__(self, library: ctypes.CDLL, descriptors: Sequence[int]) -> None:
        self._library = library
        self._road = library.road_open((ctypes.c_int * len(descriptors))(*descriptors), len(descriptors))

    def run(self, messages: Sequence[Message], *, first: int, copies: int, lasts_s: float, patience_s: float) -> Noted:
        """Send each message when it is due, for `lasts_s`, and wait up to `patience_s` more for what is to come of it.

        Each is `copies` deliveries. They are numbered from `first` on; what comes of earlier runs is passed over.

        Raises:
            RuntimeError: a socket was closed, or took nothing for a second.
        """
        due, sender, begins = array("l"), array("i"), array("l", [0])
        for message in messages:
            due.append(message.due_ns)
            sender.append(message.sender)
            begins.append(begins[-1] + len(message.frame))
        frames = b"".join(message.frame for message in messages)
        count = len(messages)
        sent, acked, arrived = (array("I", [NONE]) * size for size in (count, count, count * copies))
        came = array("i", [0]) * count
        at = ctypes.cast(ctypes.c_char_p(frames), ctypes.c_void_p).value
        fields = [*map(_address, (due, sender)), at, *map(_address, (begins, sent, acked, arrived, came))]
        run = _Run(first, count, copies, *fields, count * copies, count, 0, 0)
        spans_ns = [round(s * 1e9) for s in (lasts_s, patience_s, PAUSE_S)]
        if self._library.road_run(self._road, ctypes.byref(run), *spans_ns):
            raise RuntimeError("the service has closed a socket, or does not read from it")
        due_us = [ns // 1000 for ns in due]
        left = run.missing + run.unanswered
        return Noted(copies, run.began, due_us, sent, acked, arrived, run.refused, left)

    def close(self) -> None:
        """Free what the loop holds; the sockets are their owner's."""
        self._library.road_close(self._road)


@contextmanager
def road_loop(descriptors: Sequence[int]) -> Iterator[RoadLoop]:
    """A loop over these sockets, which must not block.

    Raises:
        RuntimeError: there is no C compiler (`cc`).
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("the clients are C: install a compiler (Debian: apt-get install gcc)")
    with TemporaryDirectory(prefix="auerbach-bench-") as folder:
        source, library = Path(folder) / "road_loop.c", Path(folder) / "road_loop.so"
        source.write_text(SOURCE)
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
        loaded = ctypes.CDLL(str(library))
        loaded.road_open.argtypes = [ctypes.c_void_p, ctypes.c_long]
        loaded.road_open.restype = ctypes.c_void_p
        loaded.road_close.argtypes = [ctypes.c_void_p]
        loaded.road_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_long] * 3]
        loop = RoadLoop(loaded, descriptors)
        try:
            yield loop
        finally:
            loop.close()


def _address(of: "array[int]") -> int:
    return of.buffer_info()[0]
