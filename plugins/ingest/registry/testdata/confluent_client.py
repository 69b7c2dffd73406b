"""Drives a schema registry with Confluent's own client: python confluent_client.py URL"""

import sys

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError


def refused(code, call):
    try:
        call()
    except SchemaRegistryError as e:
        assert e.error_code == code, (e.error_code, code)
    else:
        raise AssertionError(f"expected error {code}")


c = SchemaRegistryClient({"url": sys.argv[1]})
a = Schema('{"type":"object","properties":{"a":{"type":"number"}}}', "JSON")
b = Schema('{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"string"}}}', "JSON")
bad = Schema('{"type":"object","properties":{"a":{"type":"string"}}}', "JSON")

assert "telemetry" in c.get_subjects()
assert c.get_latest_version("telemetry").version >= 3
i = c.register_schema("s", a)
assert c.register_schema("s", a) == i
assert c.register_schema("s", b) != i
assert c.get_versions("s") == [1, 2]
assert c.get_version("s", 1).schema_id == i
assert c.get_schema(i).schema_str == a.schema_str
assert c.lookup_schema("s", b).version == 2
assert c.test_compatibility("s", b) is True
assert c.test_compatibility("s", bad) is False
assert c.test_compatibility_all_versions("s", bad) is False
refused(409, lambda: c.register_schema("s", bad))
refused(40401, lambda: c.get_versions("none"))
refused(40402, lambda: c.get_version("s", 9))
refused(42201, lambda: c.register_schema("s", Schema('{"type":"object"}', "AVRO")))
c.register_schema("part", Schema('{"type":"number"}', "JSON"))
uses = Schema('{"properties":{"a":{"$ref":"part.json"}}}', "JSON", [SchemaReference("part.json", "part", 1)])
j = c.register_schema("whole", uses)
assert [(r.name, r.subject, r.version) for r in c.get_schema(j).references] == [("part.json", "part", 1)]
assert c.lookup_schema("whole", uses).version == 1
refused(42206, lambda: c.delete_version("part", 1))
refused(42201, lambda: c.register_schema("whole", Schema('{"$ref":"x"}', "JSON", [SchemaReference("x", "none", 1)])))
c.set_compatibility("s", "NONE")
assert c.get_compatibility("s") == "NONE"
assert c.get_compatibility() == "BACKWARD"
assert c.register_schema("s", bad) > 0
assert c.delete_version("s", 3) == 3
assert c.delete_subject("s") == [1, 2]
c.delete_subject("s", permanent=True)
refused(40401, lambda: c.get_versions("s"))
print("all as expected")
