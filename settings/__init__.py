"""Settings: `base` has the common ones, `development`, `testing` and `production` the others."""
