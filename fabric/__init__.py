"""Containers, profiles, provisioning and the command line."""
