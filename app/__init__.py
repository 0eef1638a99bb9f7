"""What a person starts: the command line and the desktop demo."""
