"""What of a live scene the network looks at: noise left out, the drawing found, a window that follows it."""
