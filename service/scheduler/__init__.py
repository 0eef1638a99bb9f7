"""Requests and streams stepped together through one network.

`queue` of jobs, `scheduler`, `batch`, `membranes`; `request` one answer; `registry` of models; `statistics`; `mailbox`.
"""
