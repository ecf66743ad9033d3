"""Replicas behind a load balancer, and clients that lose nothing while replicas come and go."""
