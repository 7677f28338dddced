"""Arms x seeds x labelled windows from one recipe, and statistics that hold."""
