"""Metrics: what containers and brokers count, as Prometheus reads it.

Services offer `Figures` (`model`); `broker`, `container` and `registry` make them; `exposition` writes them
down. Gathering is cheap and done in the reactor's thread; writing down belongs in another one.
"""
