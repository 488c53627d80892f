"""Base models: where they come from, how they are loaded, on which device."""
