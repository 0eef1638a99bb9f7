"""Where predictions are sent: a webhook, an MQTT broker, a file of JSON lines; each behind a queue on disk.

`report` makes messages of a stream's answers, `delivery` keeps them in `disk_queue` until a `sink` has taken them.
"""
