"""Published models: each file composes a backbone and a head; ``catalogue.MODELS`` lists them."""
