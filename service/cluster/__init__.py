"""One address for many replicas of the service.

`front`, `failover` of streams, `replicas`, `ray_serve` that starts them.
"""
