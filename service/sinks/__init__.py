"""Sinks of predictions: a webhook, an MQTT broker, a file, or one of a plug-in.

`report` turns a stream's answers into records; `delivery` keeps them in memory until a `sink` has taken them.
"""
