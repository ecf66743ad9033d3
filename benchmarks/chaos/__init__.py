"""What goes wrong in a machine room, at random and all at once, under mixed traffic."""
