"""Lists of features, stars, and vectors of one's own: their pages."""
