"""The gateway: fixed ports that lead any TCP client to the present master of a group of brokers.

::

    client ──▶ opening ──▶ gateway ──▶ link ──▶ broker         bytes
                 which       where       both ways
                 protocol      │
                               ▼
    registry ──masters──▶ targets ──▶ balance                  decisions

`opening`, `targets` and `balance` are pure; `gateway` listens and connects, `link` carries bytes.
"""
