"""The routes below `/api/v1`: JSON in, JSON out. One module for each area."""
