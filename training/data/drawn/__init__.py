"""Pictures drawn by code that join digits: print, and what lies near digits and is none."""
