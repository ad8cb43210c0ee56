"""Several processes at one load: a team of members, each of which loads chunks at its desk."""
