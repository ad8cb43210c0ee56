"""Files that people hand in by the browser: where they are kept, and what becomes of them."""
