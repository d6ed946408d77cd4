"""What this worker tells its operators: the data behind `web/inspect` (the messages are in `app.inspection`).

In: questions to `inspector.WorkerInspector`. Out: views, a refusal, or the worker that owns what was asked for.
`cluster`, `groups` and `search` make one view each, from this worker's partitions and from what `broker` sees of the
topics. Nothing here changes anything; each question has a deadline, each list and each look a bound.
"""
