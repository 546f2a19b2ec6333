"""Models and simulations of the protocols."""
