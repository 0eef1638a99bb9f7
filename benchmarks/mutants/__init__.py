"""Mutation testing: write small faults into the source, one at a time, and run the tests that should notice them."""
