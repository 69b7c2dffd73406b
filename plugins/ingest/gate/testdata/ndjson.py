"""Teaches schemathesis to send NDJSON."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx, value):
    if isinstance(value, bytes):
        return value
    return value if isinstance(value, str) else json.dumps(value)
