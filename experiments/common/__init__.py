"""Code that the experiments share: energy, faults, metering, noise and sensors."""
