"""Reads a server's metrics with Prometheus' own parser for Python.

Checks what `promtool check metrics` would: every family has a help text and a
type, names follow the conventions, no sample comes twice, and histograms add
up. Prints the samples as JSON: name -> list of {"labels", "value"}.
Usage: metrics.py HOST:PORT
"""

import http.client
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

PATIENCE_SECONDS = 20
TYPES = {"counter", "gauge", "histogram"}
UNITS_THAT_ARE_NOT_BASE = ("_ms", "_milliseconds", "_micros", "_minutes", "_kb")


def fetch(address):
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode("utf-8")
    connection.close()
    assert answer.status == 200, answer.status
    kind = answer.headers["content-type"]
    assert kind.startswith("text/plain; version=0.0.4"), kind
    return text


def check_family(family):
    name = family.name
    assert name.startswith("holdfast_"), name
    assert family.type in TYPES, f"{name} is {family.type}"
    assert family.documentation.strip(), f"{name} has no help"
    assert not name.endswith(UNITS_THAT_ARE_NOT_BASE), name
    is_counter = family.type == "counter"
    seen = set()
    for sample in family.samples:
        assert sample.name.endswith("_total") == is_counter, sample
        labels = tuple(sorted(sample.labels.items()))
        assert (sample.name, labels) not in seen, f"twice: {sample}"
        seen.add((sample.name, labels))
    if family.type == "histogram":
        check_histogram(family)


def check_histogram(family):
    buckets, counts = {}, {}
    for sample in family.samples:
        labels = dict(sample.labels)
        if sample.name.endswith("_bucket"):
            bound = float(labels.pop("le"))
            series = tuple(sorted(labels.items()))
            buckets.setdefault(series, []).append((bound, sample.value))
        elif sample.name.endswith("_count"):
            counts[tuple(sorted(labels.items()))] = sample.value
    assert buckets.keys() == counts.keys(), family.name
    for series, steps in buckets.items():
        assert len(steps) > 2, f"{family.name} has no buckets"
        assert steps == sorted(steps), (family.name, steps)
        values = [value for _, value in steps]
        assert values == sorted(values), (family.name, steps)
        assert steps[-1] == (float("inf"), counts[series]), (family.name, steps)


def main(address):
    samples = {}
    for family in text_string_to_metric_families(fetch(address)):
        check_family(family)
        for sample in family.samples:
            told = {"labels": sample.labels, "value": sample.value}
            samples.setdefault(sample.name, []).append(told)
    print(json.dumps(samples))


if __name__ == "__main__":
    main(sys.argv[1])
