"""What stands between a socket and an endpoint: connections, bodies, the OpenAPI document."""
