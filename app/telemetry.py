"""Logs and metrics: structured lines, JSON off a terminal; never a token, never a message's text."""

import logging
import sys
import threading
from types import TracebackType

import structlog

# Of the libraries less is logged than of us: at DEBUG theirs would show records, and so tokens and texts.
_LIBRARIES = {"DEBUG": "INFO", "INFO": "WARNING"}


def configure_logging(level: str) -> None:
    """Log to standard error from `level` on: coloured on a terminal, else one JSON object a line.

    What libraries log, warn of or raise where nobody catches it becomes such lines, too.
    """
    terminal = sys.stderr.isatty()
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without locals, here and below: they hold tokens and messages' texts.
    render: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer()
    )
    if not terminal:
        frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(frames))
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        # In one write with its end of line: a thread that logs by the standard library would come between two.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LIBRARIES.get(level, level))
    logging.captureWarnings(True)
    _log_what_nobody_catches()


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of one room."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return bound


def _log_what_nobody_catches() -> None:
    log = logger("process")

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("an exception that nobody caught", exc_info=(kind, error, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        if error is not None:
            name = args.thread.name if args.thread is not None else None
            trace = (args.exc_type, error, args.exc_traceback)
            log.critical("an exception that nobody caught in a thread", thread=name, exc_info=trace)

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        error = args.exc_value
        if error is not None:
            log.error("an exception that could not be raised", exc_info=(args.exc_type, error, args.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, uncaught_in_thread, unraisable
