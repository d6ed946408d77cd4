"""The report of all partitions, for people and for programs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from app.cli.verifying.findings import FINDINGS_KEPT, Report


@dataclass(slots=True, frozen=True)
class Verdict:
    """What all partitions gave; `cut` names the client logs whose last line was cut."""

    log_id: str
    reports: Sequence[Report]
    cut: Sequence[str] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self._counts()

    def lines(self) -> Iterator[str]:
        """A line each finding, then the summary."""
        for report in self.reports:
            yield from map(str, report.findings)
            for kind, count in report.counts.items():
                if count > FINDINGS_KEPT:
                    yield f"{kind}: partition {report.partition}: {count - FINDINGS_KEPT} more"
        yield from self._summary()

    def as_json(self) -> str:
        """All of it as one JSON object."""
        totals = {name: self._total(name) for name in _TOTALS}
        said: dict[str, Any] = {
            "clean": self.clean,
            "log": self.log_id,
            **totals,
            "log_cpu_s": self._total("log_cpu_s"),
            "voided": [
                {"partition": report.partition, "claim": claim, "records": count}
                for report in self.reports
                for claim, count in sorted(report.voided.items())
            ],
            "counts": self._counts(),
            "findings": [asdict(finding) for report in self.reports for finding in report.findings],
            "unproven": self._unproven(),
            "cut": list(self.cut),
            "begins_late": {str(report.partition): report.first for report in self.reports if report.first > 0},
        }
        return msgspec.json.encode(said).decode()

    def _summary(self) -> Iterator[str]:
        total = self._total
        yield (
            f"log       {self.log_id}: {total('records'):,} records in {len(self.reports)} partitions: "
            f"{total('events'):,} events of {total('groups'):,} groups, {total('claims'):,} claims"
        )
        for report in self.reports:
            if report.first > 0:
                yield f"begins    partition {report.partition} at offset {report.first:,}: what was before is not kept"
        voided = sum((report.voided for report in self.reports), Counter[int]())
        yield f"void      {voided.total():,} records" + ("" if voided else ", as no owner was overtaken")
        for report in self.reports:
            for claim, count in sorted(report.voided.items()):
                yield f"          partition {report.partition}: {count:,} by the claim at offset {claim}"
        yield (
            f"compared  {total('tables_compared'):,} groups with their rows, "
            f"{total('history_rows_compared'):,} rows of the history, {total('owners_compared'):,} owners' answers, "
            f"{total('acks'):,} acknowledgements"
        )
        for file in self.cut:
            yield f"cut       {file}: its last line is no whole one, and was left out"
        for what, count in self._unproven().items():
            yield f"unproven  {count:,} {what}"
        counts = self._counts()
        found = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        yield f"FOUND     {found}" if counts else "clean"

    def _total(self, name: str) -> Any:
        return sum(getattr(report, name) for report in self.reports)

    def _counts(self) -> dict[str, int]:
        return dict(sum((report.counts for report in self.reports), Counter[str]()))

    def _unproven(self) -> dict[str, int]:
        return dict(sum((report.unproven for report in self.reports), Counter[str]()))


_TOTALS = (
    "records",
    "events",
    "claims",
    "groups",
    "acks",
    "tables_compared",
    "history_rows_compared",
    "owners_compared",
)
