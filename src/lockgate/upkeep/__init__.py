"""What keeps the loop alive: the way back, settling, holds, rehearsals, reviews, documents."""
