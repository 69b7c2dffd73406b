"""Makes a topic and brings the lines of stdin into it, once: produce.py BROKERS TOPIC."""

import json
import sys

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

brokers, topic = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": brokers})  # it ends what it has begun when nobody holds it
try:
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result()
except KafkaException as e:
    if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
        raise
    sys.exit()  # it has its records
failed = []
producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
for line in sys.stdin:
    line = line.strip()
    producer.produce(topic, line, json.loads(line)["sensor"], on_delivery=lambda e, _: e and failed.append(e))
    producer.poll(0)
if producer.flush(60) or failed:
    sys.exit(f"not all records came: {failed[:1]}")
