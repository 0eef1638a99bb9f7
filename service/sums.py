"""What several replicas say about themselves, added up."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families


def summed(bodies: list[Any]) -> Any:
    """JSON of one shape from several replicas: numbers are added, times since 1970 (`last_*`) take the latest.

    >>> summed([{"a": [1], "last_ms": 5, "b": "x"}, {"a": [2], "last_ms": 3, "b": "x"}])
    {'a': [3], 'last_ms': 5, 'b': 'x'}
    """
    first = bodies[0]
    if isinstance(first, dict):
        return {
            key: (max if key.startswith("last_") else summed)([body[key] for body in bodies if key in body])
            for key in first
        }
    if isinstance(first, list):
        return [summed(list(items)) for items in zip(*bodies)]
    return sum(bodies) if type(first) is int else first


def summed_metrics(texts: list[bytes]) -> bytes:
    """Prometheus expositions of the same service, added up sample by sample."""
    lines: dict[str, float] = {}
    heads: dict[str, str] = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                key = f"{sample.name}{{{labels}}}" if labels else sample.name
                heads.setdefault(
                    key, f"# HELP {family.name} {family.documentation}\n# TYPE {family.name} {family.type}\n"
                )
                lines[key] = lines.get(key, 0.0) + sample.value
    said: set[str] = set()
    out: list[str] = []
    for key, value in lines.items():
        if heads[key] not in said:
            said.add(heads[key])
            out.append(heads[key])
        out.append(f"{key} {value}\n")
    return "".join(out).encode()
