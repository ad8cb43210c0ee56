"""Files that people upload in the browser: where they are stored, and how they are loaded."""
