"""Realistic emulated input: sheets of paper on desks, uneven light, hands, shake and noise, as users show a camera."""
