"""Uploaded bytes become pixels or events: `decode` runs in `processes` of its own, which a `sandbox` confines."""
