"""Scripts that run under another Python than dlink's, here or on a board; each stands alone."""
