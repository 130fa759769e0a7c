"""What reaches production: signed receipts, published folders, hooks, and how they are trusted."""
