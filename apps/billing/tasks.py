"""What billing does by itself: each task is safe to run twice, by several workers at once, and after having been missed."""
