"""The `fabric` command line."""
