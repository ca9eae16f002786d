"""Convert messages to line protocol by deploy's telegraf.conf, as documented for Telegraf.

Telegraf itself has no package on Debian. This implements the documented behaviour of those keys of
mqtt_consumer and json_v2 that the file uses; any other key is an error.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import datetime

KEYS = {"servers", "topics", "qos", "persistent_session", "client_id", "max_undelivered_messages",
        "topic_tag", "data_format", "topic_parsing", "json_v2"}  # fmt: skip
PARSER_KEYS = {"measurement_name", "timestamp_path", "timestamp_format", "field"}
FIELD_KEYS = {"path", "rename", "type", "optional"}
RFC_3339 = "2006-01-02T15:04:05Z07:00"


class Telegraf:
    """Inputs of a configuration file."""

    def __init__(self, path):
        config = tomllib.loads(path.read_text())
        self.agent, self.output = config["agent"], config["outputs"]["influxdb"][0]
        self.inputs = config["inputs"]["mqtt_consumer"]
        for one in self.inputs:
            assert set(one) <= KEYS and one["data_format"] == "json_v2" and one["topic_tag"] == ""
            for parser in one["json_v2"]:
                assert set(parser) <= PARSER_KEYS
                assert all(set(field) <= FIELD_KEYS for field in parser["field"])

    def lines(self, topic, payload, now_ns):
        """Convert a message to lines of line protocol."""
        found = []
        for one in self.inputs:
            if any(matches(pattern, topic) for pattern in one["topics"]):
                tags = tags_of(one["topic_parsing"], topic)
                found += [
                    line(parser, tags, json.loads(payload), now_ns) for parser in one["json_v2"]
                ]
        return [text for text in found if text]


def matches(pattern, topic):
    """Check whether a topic matches a subscription, whose only wildcard is +."""
    return re.fullmatch(re.escape(pattern).replace(r"\+", "[^/]+"), topic) is not None


def tags_of(rules, topic):
    """Return the tags of a topic: a rule names the tag of each level, or _ for none."""
    tags = {}
    for rule in rules:
        if matches(rule["topic"], topic):
            names = rule["tags"].split("/")
            assert len(names) == len(topic.split("/"))
            tags |= {n: level for n, level in zip(names, topic.split("/"), strict=True) if n != "_"}
    return tags


def at(payload, path):
    """Return the value at a GJSON path of plain names, and whether it exists."""
    for name in path.split("."):
        if not isinstance(payload, dict) or name not in payload:
            return None, False
        payload = payload[name]
    return payload, True


def line(parser, tags, payload, now_ns):
    """Return a point; None if no field has a value."""
    fields = {}
    for field in parser["field"]:
        value, there = at(payload, field["path"])
        assert there or field.get("optional"), f"{field['path']} is not in the message"
        if value is not None:  # null is omitted
            fields[field.get("rename", field["path"].rpartition(".")[2])] = typed(
                value, field["type"]
            )
    if not fields:
        return None
    if "timestamp_path" in parser:
        assert parser["timestamp_format"] == RFC_3339
        moment = datetime.fromisoformat(at(payload, parser["timestamp_path"])[0])
        now_ns = round(moment.timestamp() * 1000) * 1_000_000
    head = ",".join([parser["measurement_name"], *(f"{k}={v}" for k, v in sorted(tags.items()))])
    return f"{head} {','.join(f'{k}={v}' for k, v in fields.items())} {now_ns}"


def typed(value, kind):
    """Format the value of a field in line protocol."""
    if kind == "string":
        return '"' + str(value).replace("\\", r"\\").replace('"', r"\"") + '"'
    return f"{int(value)}i" if kind == "int" else repr(float(value))
