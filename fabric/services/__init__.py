"""Service factories: one module per kind of configuration PID."""
