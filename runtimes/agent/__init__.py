"""What runs inside a runtime: standard library and pyzmq only, nothing of ours. The site trusts nothing it says."""
