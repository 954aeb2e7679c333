"""The few lines of YAML that start.py writes."""

import json
from pathlib import Path


def read(path):
    found = {}
    with Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.strip().partition(": ")
            found[key] = json.loads(value) if value.startswith('"') else value
    return found
