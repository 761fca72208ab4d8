"""The topology as a value: document → declarations → checks → plan. No module here knows a socket."""
