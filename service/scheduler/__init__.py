"""Requests and streams stepped together through one network: `scheduler`, its `queue`, `membranes`, `mailbox`."""
