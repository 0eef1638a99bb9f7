"""Requests and streams stepped together through one network.

`queue` of jobs, `scheduler`, `membranes`; `request` one answer; `registry` of models; `mailbox`; decoders' `processes`.
"""
