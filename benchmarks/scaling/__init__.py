"""A day of traffic, replicas that serve it, and the autoscaler that says how many there are."""
