"""Makes the finished video, by the cheapest strategy that is right, and proves it before anybody sees it."""
