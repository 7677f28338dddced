"""Several boards measured at once, from one file that names them; one results.json of all."""
