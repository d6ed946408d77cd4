"""The way out to RabbitMQ, piece by piece; `bridges.amqp_outbound` puts it together.

Records of the log come in (`reader`, from `starts` on, as `steps`); events and `push` records leave, in order and held
until they are confirmed (`flow`, `channel`, `frames`).
"""
