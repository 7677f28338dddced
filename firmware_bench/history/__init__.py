"""Results of many runs in one SQLite file: listed, shown, drawn and compared over commits."""
