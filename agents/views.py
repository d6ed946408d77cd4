"""What gateways ask this worker over HTTP: reads, answered by the partitions it owns."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from faust.web import View

from agents.partition import Partition
from agents.reading import answer
from app.kafka.partition import partition_for
from app.kafka.topics import Layout
from app.presence import PRESENCE_PATH, Report, Word, decode_reports, encode_words
from app.reads import READS_PATH, Answer, AnyRead, decode_reads, encode_answers

ANSWER_S = 5.0  # a gateway asks again until its client's deadline; holding it longer helps nobody


def reads_view(app: Any, owned: Callable[[int], Partition | None], layout: Layout) -> None:
    """Serve `POST /reads` (the messages are in `app.reads`); `owned` gives the partitions of this worker."""

    async def one(read: AnyRead) -> Answer:
        partition = owned(partition_for(read.group.encode(), layout.partitions))
        if partition is None:
            return Answer(missing="not_owner")
        return await answer(partition, layout.log_id, read, ANSWER_S)

    @app.page(READS_PATH)
    class Reads(View):
        """Answers an array of reads with an array of answers; 400 for what is none. Whoever reaches it may ask."""

        async def post(self, request: Any) -> Any:
            """Answer the reads of one request."""
            try:
                reads = decode_reads(await request.read())  # at most 1 MiB, else 413: aiohttp's own bound
            except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
                return self.json({"error": str(bad)}, status=400)
            answers = await asyncio.gather(*(one(read) for read in reads))
            return self.bytes(encode_answers(list(answers)), content_type="application/json")


def presence_view(app: Any, owned: Callable[[int], Partition | None]) -> None:
    """Serve `POST /presence` (the messages are in `app.presence`)."""

    def one(gateway: str, report: Report) -> Word:
        partition = owned(report.partition)
        if partition is None or not partition.serving:
            return "not_owner"
        return partition.presence.report(gateway, report, time.monotonic())

    @app.page(PRESENCE_PATH)
    class Presence(View):
        """Answers a gateway's reports with a word for each; 400 for what is none. Whoever reaches it may report."""

        async def post(self, request: Any) -> Any:
            """Take in the reports of one request."""
            try:
                reports = decode_reports(await request.read())  # at most 1 MiB, else 413: aiohttp's own bound
            except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
                return self.json({"error": str(bad)}, status=400)
            words = [one(reports.gateway, report) for report in reports.reports]
            return self.bytes(encode_words(words), content_type="application/json")
