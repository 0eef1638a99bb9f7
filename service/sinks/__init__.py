"""Sinks for predictions: a webhook, an MQTT broker, a file of JSON lines; each behind a queue on disk.

`report` turns a stream's answers into records; `delivery` keeps them in `disk_queue` until a `sink` has taken them.
"""
