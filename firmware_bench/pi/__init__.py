"""The host's side of a Linux board: SSH, the job, the board's answers as measurements."""
