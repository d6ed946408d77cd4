"""The operators' pages of a processor: its partitions, a group now or then, and what an id is; JSON and plain HTML.

In: GET requests to a worker's own web server, and whoever may look (`right`). Out: what `app.inspection.Inspector`
says, as JSON or as a page without scripts; a redirect to the worker that owns what was asked for. Nothing here knows
Faust or Kafka, and nothing that a user has written is shown but names: never a message's text.
"""
