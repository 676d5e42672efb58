"""Models compared on a user's own data: every one trained, scored and clocked by the same code, and judged in pairs."""
