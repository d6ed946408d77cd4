"""Keeps each event of the log in a SQLite database, exactly once: `python plain_consumer.py BOOTSTRAP DATABASE`."""

import json
import sqlite3
import sys

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

TOPIC = "chat.group.events.v1"
TABLES = """
CREATE TABLE IF NOT EXISTS events ("group" TEXT, seq INTEGER, kind TEXT, value TEXT, PRIMARY KEY ("group", seq));
CREATE TABLE IF NOT EXISTS positions ("partition" INTEGER PRIMARY KEY, log TEXT, "offset" INTEGER, epoch INTEGER);
"""


def take(db, log, message):
    """Take in the next record of a partition; the position behind it is part of the same transaction."""
    headers, partition = dict(message.headers()), message.partition()
    known = db.execute('SELECT epoch FROM positions WHERE "partition" = ?', (partition,)).fetchone()
    epoch = known[0] if known else -1
    if headers["kind"] == b"claim":
        epoch = message.offset()
        if json.loads(message.value())["log"] != log:
            raise SystemExit("the log was replaced: what is kept is void, see docs/consumers.md")
    elif int(headers["epoch"]) >= epoch:  # else it is void: its writer was replaced before
        keep(db, message.key().decode(), int(headers["seq"]), headers["kind"].decode(), message.value().decode())
    db.execute("REPLACE INTO positions VALUES (?, ?, ?, ?)", (partition, log, message.offset() + 1, epoch))


def keep(db, group, seq, kind, value):
    """Keep an event that counts, unless it is kept already."""
    last = db.execute('SELECT max(seq) FROM events WHERE "group" = ?', (group,)).fetchone()[0]
    if last is not None and seq > last + 1:
        raise SystemExit(f"{group}: {seq} follows {last}: the place in the log was lost, begin again from an older one")
    db.execute("INSERT INTO events VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (group, seq, kind, value))


def main(bootstrap, database):
    """Follow all partitions for ever. It may be killed at any moment and started again."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = admin.describe_topics(TopicCollection([TOPIC]))[TOPIC].result()
    log = str(topic.topic_id).translate(str.maketrans("+/", "-_"))  # as Kafka's own tools and the claims spell it
    db = sqlite3.connect(database)
    db.executescript(TABLES)
    if db.execute("SELECT 1 FROM positions WHERE log <> ?", (log,)).fetchone():
        raise SystemExit("the log was replaced: what is kept is void, see docs/consumers.md")
    places = dict(db.execute('SELECT "partition", "offset" FROM positions'))
    settings = {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(TOPIC, p.id, places.get(p.id, 0)) for p in topic.partitions])
    while True:
        with db:  # one transaction a batch
            for message in consumer.consume(500, timeout=0.1):
                if message.error():
                    raise KafkaException(message.error())
                take(db, log, message)


if __name__ == "__main__":
    main(*sys.argv[1:])
