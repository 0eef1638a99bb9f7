"""Requests and streams stepped together through one network.

`queue`, `scheduler`, `membranes`; `request` one answer; `registry` of models; `statistics`; `threads`.
"""
