"""Ways to pay, each in a file of its own behind the port in `base`."""
