"""User interfaces: the command line and the desktop demo."""
