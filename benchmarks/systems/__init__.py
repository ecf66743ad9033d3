"""What is measured: the service and its peers, each in processes of its own, and the machine."""
