"""A model as people have it, for the figures: customers with an e-mail address, JSON and tags."""
