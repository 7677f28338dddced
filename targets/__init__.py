"""What a device is: boards, budgets, units; and the errors and file helpers all packages share."""
