# Reads metrics from standard input with Prometheus' own client library; prints every sample as JSON.
# Its one argument is the media type. Whatever the library finds wrong is an exception.
import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

read = openmetrics if "openmetrics" in sys.argv[1] else prometheus
families = list(read(sys.stdin.read()))
for family in families:
    assert family.documentation, family.name
    assert family.type in ("counter", "gauge", "histogram", "info"), (family.name, family.type)
names = [family.name for family in families]
assert len(names) == len(set(names)), "a family comes twice"
json.dump([[s.name, s.labels, s.value] for f in families for s in f.samples], sys.stdout)
