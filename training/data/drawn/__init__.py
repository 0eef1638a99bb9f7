"""Drawn pictures that train beside digits: printed digits, and outliers that only resemble digits."""
