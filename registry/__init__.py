"""ZooKeeper: paths, sessions, groups, election, discovery; the only package that knows kazoo."""
