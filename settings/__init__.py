"""Settings: `base` is what is common; `development`, `testing`, `production` say what differs."""
