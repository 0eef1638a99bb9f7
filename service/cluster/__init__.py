"""A cluster: many replicas of the service behind one address.

`proxy` forwards requests, `failover` streams; `replicas` lists them, `ray_serve` starts them.
"""
