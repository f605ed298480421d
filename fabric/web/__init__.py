"""The web console of a fabric and its API, served by the root container.

    request -> site (HTTP) -> gate (who may) -> a handler of `api` or `pages` -> answer
                                                   |
                        view (registry, in memory) | links (brokers) | stores (changes)

Everything that changes something is a route of the API; pages only show, and their forms talk to the API.
`table.ROUTES` lists all routes with the role each of them needs: routing, access, the OpenAPI description and
the tests of access come from it.
"""
