"""Each module here is a command: a comparison with a peer, measured in the same run."""
