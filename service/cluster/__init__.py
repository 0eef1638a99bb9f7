"""One address for many replicas of the service.

`proxy`, `failover` of streams, `replicas`, `ray_serve` that starts them.
"""
