"""Would a test notice? Small faults are written into the source, one at a time, and the tests that reach them run."""
