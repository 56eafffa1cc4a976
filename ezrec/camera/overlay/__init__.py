"""The logo as a camera draws it: made ready once, blended into every frame before it is encoded."""
