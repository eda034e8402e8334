"""Addresses that student code never reaches, however much internet its profile has. Pure."""

from __future__ import annotations

# Special-purpose addresses (RFC 6890 and the IANA registry), with the clouds' metadata services.
REFUSED_NETWORKS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
)
# The internet of IPv6 (RFC 4291, global unicast): loopback, mapped and translated IPv4, unique local addresses with the
# clouds' metadata services, link-local and multicast lie outside.
INTERNET_V6 = "2000::/3"
# What in it is none (RFC 6890 and the IANA registry). Teredo and 6to4 hold IPv4 addresses of any kind.
REFUSED_NETWORKS_V6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
