"""What operators see of a broker and do with it: one interface for commands, web pages and programs.

`management.Management` is that interface: typed requests in (`requests`), plain dataclasses out (`model`), in
pages. What takes long is a `jobs.Job` that says how far it is. `endpoint` carries all of it over messages.
"""
