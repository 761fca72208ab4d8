"""Whether a worker is all right: who asks is answered, who watches sees that work gets done, and what hangs ends."""
